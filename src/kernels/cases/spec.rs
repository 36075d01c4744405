//! One case: a kernel in one variant and one storage type, and its id.

use std::sync::Arc;

use crate::kernels::kernel::Kernel;
use crate::kernels::kernel_case::KernelCase;
use crate::kernels::types::{Family, KernelPhase, StorageType};

/// One kernel at one shape in one variant and type.
#[derive(Debug, Clone)]
pub struct CaseSpec {
    /// The family that the kernel belongs to.
    pub family: Family,
    /// The kernel and its shape.
    pub kernel: Arc<dyn Kernel>,
    /// One of its variants.
    pub variant: &'static str,
    /// One of its types.
    pub element: StorageType,
    /// A word of the id: in a preset the model with this shape, in the verification suite the kind of inputs.
    pub label: String,
    /// The phase of serving with this shape.
    pub phase: KernelPhase,
    /// The number that the sizes of the layer were divided by.
    pub scale_divisor: u32,
}

impl CaseSpec {
    /// The kernel in this variant and type.
    pub fn case(&self) -> KernelCase<'_> {
        KernelCase { kernel: self.kernel.as_ref(), variant: self.variant, storage: self.element }
    }

    /// `family/kernel/variant/element/label/phase/name=size,...`: unique and stable between runs and devices.
    pub fn id(&self) -> String {
        self.id_as(self.variant)
    }

    /// The id with another word for the variant.
    pub fn id_as(&self, variant: &str) -> String {
        let shape: Vec<String> = self.kernel.shape().iter().map(|(name, size)| format!("{name}={size}")).collect();
        format!(
            "{}/{}/{}/{}/{}/{}/{}",
            self.family,
            self.kernel.name(),
            variant,
            self.element,
            self.label,
            self.phase,
            shape.join(",")
        )
    }
}

/// All cases of one kernel at one shape: what its variants and types have in common.
pub(super) struct CaseGroup {
    pub(super) family: Family,
    pub(super) kernel: Arc<dyn Kernel>,
    pub(super) label: String,
    pub(super) phase: KernelPhase,
    pub(super) scale_divisor: u32,
}

impl CaseGroup {
    /// One case per variant and type that suit the shape.
    pub(super) fn expand(&self) -> Vec<CaseSpec> {
        let Self { family, ref kernel, ref label, phase, scale_divisor } = *self;
        let mut specs = Vec::new();
        for &variant in kernel.variants().iter().filter(|variant| kernel.suits(variant)) {
            for &element in kernel.variant_elements(variant) {
                let (kernel, label) = (Arc::clone(kernel), label.clone());
                specs.push(CaseSpec { family, kernel, variant, element, label, phase, scale_divisor });
            }
        }
        specs
    }
}

/// A kernel of the suite, with a word for its inputs.
pub(super) type Labelled = (&'static str, Arc<dyn Kernel>);

pub(super) fn shared(kernel: impl Kernel + 'static) -> Arc<dyn Kernel> {
    Arc::new(kernel)
}
