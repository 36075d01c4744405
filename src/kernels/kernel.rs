//! The trait of all kernels: a shape that can be planned, filled with operands, and judged.

use std::collections::BTreeMap;
use std::fmt;

use crate::kernels::plan::{Output, Plan};
use crate::kernels::target::Target;
use crate::kernels::tensor::{Tensor, Tensors};
use crate::kernels::types::{Extent, StorageType};
use crate::kernels::verification::{self, Computed, Verification};

/// A kernel at one shape: its launches, its operands, and the judge of its result.
///
/// Implementations are plain shape structs. A variant is one way to compute the same result. All variants of a kernel turn
/// the same seed into operands with the same meaning; their layout in memory may differ.
pub trait Kernel: fmt::Debug + Send + Sync {
    /// The name of what is computed, as in case ids.
    fn name(&self) -> &'static str;
    /// The sizes, by name.
    fn shape(&self) -> BTreeMap<String, u64>;
    /// The ways to compute it.
    fn variants(&self) -> &'static [&'static str];
    /// The storage types that some variant exists for.
    fn elements(&self) -> &'static [StorageType];
    /// The variants of `among` that suit this shape on such a device, the most promising first.
    fn candidates(&self, target: &Target, among: &[&'static str]) -> Vec<&'static str> {
        let suitable = among.iter().copied().filter(|variant| self.suits(variant)).collect();
        target.ranked(self.name(), suitable)
    }
    /// The variant that is taken on such a device without a trial.
    fn default_variant(&self, target: &Target) -> &'static str {
        self.candidates(target, self.variants()).first().copied().unwrap_or_default()
    }
    /// The storage types that a variant exists for. The default is all of [`Kernel::elements`].
    fn variant_elements(&self, _variant: &str) -> &'static [StorageType] {
        self.elements()
    }
    /// Whether a variant makes sense at this shape. A variant that does not is left out of every plan without a note.
    fn suits(&self, _variant: &str) -> bool {
        true
    }
    /// The same kernel at a size within `most`, or near it, on which the variants rank much as on this one. It is used for
    /// trials where a single run would take long. `None` if this size is within `most`.
    fn smaller(&self, _most: Extent) -> Option<Box<dyn Kernel>> {
        None
    }
    /// The same kernel with half as many tokens, queries or sequences. `None` if there is one left, or no such size.
    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        None
    }
    /// The same kernel on half of the weights or heads: the share of a chip after one more doubling of tensor parallelism.
    /// `None` if nothing can be halved.
    fn narrower(&self) -> Option<Box<dyn Kernel>> {
        None
    }
    /// The same layer with other variants of its parts: `best` names the variant of a part if it knows one. `None` for a
    /// single kernel.
    fn with_parts(&self, _element: StorageType, _best: &BestVariant) -> Option<Box<dyn Kernel>> {
        None
    }
    /// Buffers, launches and work.
    fn plan(&self, variant: &str, element: StorageType) -> Plan;
    /// Seeded operands for every [`crate::kernels::Role::Input`] buffer of the plan.
    fn inputs(&self, variant: &str, element: StorageType, seed: u64) -> Tensors;
    /// A key of the operands' layout: variants with equal keys take the very same operands.
    fn layout(&self, variant: &str) -> usize {
        self.variants().iter().position(|known| *known == variant).unwrap_or_default()
    }
    /// As [`Kernel::inputs`], but reuses what `made` holds of another variant with the same type and seed.
    fn inputs_from(&self, made: &mut Made, variant: &str, element: StorageType, seed: u64) -> Tensors {
        made.operands(self.layout(variant), || self.inputs(variant, element, seed))
    }
    /// Dimensions of every [`crate::kernels::Role::Output`] buffer of the plan.
    fn outputs(&self, variant: &str, element: StorageType) -> Vec<Output>;
    /// Token slots per expert that a run routed. `None` for a kernel that does not route, or if an output is no expert.
    fn tokens_per_expert(&self, _outputs: &Tensors) -> Option<Vec<u32>> {
        None
    }
    /// Compares outputs with the twin's. It checks as many elements as `effort` multiply-adds of the twin allow.
    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification;
    /// Compares the whole outputs of two variants on operands of the same seed, element by element. This finds errors that
    /// the sampled elements of the twin may miss, such as a race: both variants hardly have the same one.
    fn agreement(&self, ours: Computed, theirs: Computed, element: StorageType) -> Verification {
        verification::agreement(&ours, &theirs, element)
    }
}

/// Names the variant of a kernel in a layer for a type.
pub type BestVariant<'a> = dyn Fn(&dyn Kernel, StorageType) -> Option<&'static str> + 'a;

/// Operands that exist already, of one kernel, type and seed.
#[derive(Debug, Default)]
pub struct Made {
    operands: BTreeMap<usize, Tensors>,
    tensors: BTreeMap<(&'static str, usize), Tensor>,
}

impl Made {
    /// All operands of a layout.
    fn operands(&mut self, layout: usize, make: impl FnOnce() -> Tensors) -> Tensors {
        self.operands.entry(layout).or_insert_with(make).clone()
    }

    /// One operand of a layout, for kernels whose variants share only some operands.
    pub(super) fn tensor(&mut self, name: &'static str, layout: usize, make: impl FnOnce() -> Tensor) -> Tensor {
        self.tensors.entry((name, layout)).or_insert_with(make).clone()
    }
}

/// The answer of [`Kernel::smaller`]: `shrunk`, unless it is as large as `whole`.
pub(super) fn if_smaller<K: Kernel + 'static>(shrunk: K, whole: &K) -> Option<Box<dyn Kernel>> {
    (shrunk.shape() != whole.shape()).then(|| Box::new(shrunk) as Box<dyn Kernel>)
}
