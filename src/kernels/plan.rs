//! A kernel run as data: buffers, and launches over them in order.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use crate::kernels::sources::{wgsl, with_constant, with_matrices_of_16};
use crate::kernels::tensor::TensorType;
use crate::kernels::types::{Operation, StorageType, Work};
use crate::units::Flop;

/// Everything needed to run one kernel case, and the least that it costs. Inputs come separately, by buffer name.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Buffers, referred to by index.
    pub buffers: Vec<Buffer>,
    /// Launches in order. Each sees the results of those before it.
    pub launches: Vec<Launch>,
    /// Useful work of one run over all launches.
    pub work: Work,
    /// Floating-point operations that the launches issue, padding included: at least `work.flop`.
    pub issued_flop: Flop,
    /// The kernels of a whole layer, in order; empty for a single kernel.
    pub parts: Vec<PartOf>,
}

/// One kernel inside the plan of a whole layer.
#[derive(Debug, Clone)]
pub struct PartOf {
    /// The name of the kernel.
    pub kernel: &'static str,
    /// Its variant.
    pub variant: &'static str,
    /// Its launches, as indices into [`Plan::launches`].
    pub launches: Range<usize>,
    /// Its useful work.
    pub work: Work,
    /// Its arithmetic by the unit that does it.
    pub operations: BTreeMap<Operation, Flop>,
}

/// One storage buffer.
#[derive(Debug, Clone)]
pub struct Buffer {
    /// The name of the WGSL variable that it is bound to.
    pub name: &'static str,
    /// Size, a multiple of 4.
    pub size_bytes: u64,
    /// How the launches use it.
    pub role: Role,
}

/// How launches use a buffer. All buffers but inputs are poisoned before verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Read only.
    Input,
    /// Compared with the twin.
    Output,
    /// An output with one copy per set of inputs: for probes that write past every cache.
    Rotated,
    /// Passed between launches.
    Scratch,
}

/// How to read an output buffer.
#[derive(Debug, Clone)]
pub struct Output {
    /// The buffer's name.
    pub name: &'static str,
    /// Dimensions.
    pub dims: Vec<usize>,
    /// Dimensions in memory.
    pub padded: Vec<usize>,
    /// Type.
    pub kind: TensorType,
}

impl Output {
    pub(super) fn new(name: &'static str, dims: &[usize], padded: &[usize], kind: impl Into<TensorType>) -> Self {
        Self { name, dims: dims.to_vec(), padded: padded.to_vec(), kind: kind.into() }
    }
}

/// A language feature or a unit of the device that a shader uses, in the order in which a lack is reported.
///
/// A launch declares its needs. `tests/shaders.rs` compares them with what naga finds in the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// Arithmetic on `f16`. Packed storage of f16 does not need it.
    ShaderF16,
    /// Subgroup operations, or the place of an invocation in its subgroup.
    Subgroup,
    /// Cooperative matrices of 8 x 8, f16 operands with f32 sums.
    Matrix8,
    /// Cooperative matrices of 8 x 8, f32 operands and sums.
    Matrix8F32,
    /// Cooperative matrices of 16 x 16, f16 operands with f32 sums.
    Matrix16,
    /// The packed int8 dot product. Every adapter runs it; those without the unit emulate it.
    PackedDot,
}

/// One kernel launch.
#[derive(Debug, Clone)]
pub struct Launch {
    /// File name under shaders/, without `.wgsl`.
    pub shader: &'static str,
    /// Type that the shader is specialised for.
    pub element: StorageType,
    /// What the shader uses beyond plain WGSL.
    pub needs: BTreeSet<Need>,
    /// The fewest invocations of a subgroup that it is right in, beyond what every kernel with subgroups needs. 0 for no
    /// more than that.
    pub least_lanes: u32,
    /// The widest subgroups in which it is right; `None` for any.
    pub most_lanes: Option<u32>,
    /// Numbers of the shader's `const` lines that this launch changes: array sizes in registers, which no `override` can
    /// set.
    pub constants: BTreeMap<&'static str, u32>,
    /// Values of the shader's `override` constants.
    pub overrides: BTreeMap<&'static str, f64>,
    /// Fields of the shader's `Params` uniform in order, each one 32-bit word; empty for a shader without `Params`.
    pub params: Vec<(&'static str, u32)>,
    /// Buffers at the storage bindings in order. The uniform, if there is one, is bound before them.
    pub bindings: Vec<usize>,
    /// Workgroups in x, y and z.
    pub grid: [u32; 3],
}

/// The word that fills poisoned buffers: a NaN as f32, two NaNs as f16, and far out of range as an index.
pub const POISON_WORD: u32 = 0xFFF7_FFF7;

impl Plan {
    /// Starts a plan. Its buffers are numbered in the order in which they are added.
    pub(super) fn new(work: Work) -> Self {
        Self { buffers: Vec::new(), launches: Vec::new(), work, issued_flop: work.flop, parts: Vec::new() }
    }

    /// Adds a buffer of at least `bytes` and returns its index.
    pub(super) fn buffer(&mut self, name: &'static str, role: Role, bytes: usize) -> usize {
        let size_bytes = (bytes.max(4) as u64).next_multiple_of(16);
        self.buffers.push(Buffer { name, size_bytes, role });
        self.buffers.len() - 1
    }

    /// Adds a launch after those that are there.
    pub(super) fn launch(&mut self, launch: Launch) {
        self.launches.push(launch);
    }

    /// The arithmetic by the unit that does it. The fastest unit of any launch counts for the whole kernel: launches that
    /// do not multiply, such as a reduction, count with those that do.
    pub fn operations(&self) -> BTreeMap<Operation, Flop> {
        let mut operations = BTreeMap::new();
        for part in &self.parts {
            for (operation, flop) in &part.operations {
                *operations.entry(*operation).or_insert(Flop::ZERO) += *flop;
            }
        }
        if self.parts.is_empty() && self.work.flop.is_positive() {
            let unit = self.launches.iter().map(Launch::operation).max().unwrap_or(Operation::F32);
            operations.insert(unit, self.work.flop);
        }
        operations
    }

    /// Bytes of one set of buffers: inputs, and outputs that rotate with them.
    pub fn bytes_of_a_set(&self) -> u64 {
        let rotates = |buffer: &&Buffer| matches!(buffer.role, Role::Input | Role::Rotated);
        self.buffers.iter().filter(rotates).map(|buffer| buffer.size_bytes).sum()
    }

    /// Bytes of all inputs.
    pub fn input_bytes(&self) -> u64 {
        let inputs = self.buffers.iter().filter(|buffer| buffer.role == Role::Input);
        inputs.map(|buffer| buffer.size_bytes).sum()
    }

    /// Bytes of the largest buffer, which must fit one binding.
    pub fn largest_buffer_bytes(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.size_bytes).max().unwrap_or(0)
    }

    /// Bytes of all buffers together.
    pub fn total_bytes(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.size_bytes).sum()
    }

    /// The largest number of workgroups along one axis of any launch.
    pub fn largest_grid_axis(&self) -> u32 {
        self.launches.iter().flat_map(|launch| launch.grid).max().unwrap_or(0)
    }

    /// Useful over issued FLOP: the share that is not padding. 1 for a plan without arithmetic.
    pub fn useful_fraction(&self) -> f64 {
        if self.issued_flop.is_positive() { self.work.flop / self.issued_flop } else { 1.0 }
    }
}

/// A launch is built from its shader and type; everything else is empty, and the grid one workgroup, until it is set.
impl Launch {
    pub(super) fn of(shader: &'static str, element: StorageType) -> Self {
        Self {
            shader,
            element,
            needs: BTreeSet::new(),
            least_lanes: 0,
            most_lanes: None,
            constants: BTreeMap::new(),
            overrides: BTreeMap::new(),
            params: Vec::new(),
            bindings: Vec::new(),
            grid: [1, 1, 1],
        }
    }

    pub(super) fn needs(mut self, needs: &[Need]) -> Self {
        self.needs.extend(needs);
        self
    }

    /// Leaves it out on devices with smaller subgroups.
    pub(super) fn least_lanes(mut self, lanes: usize) -> Self {
        self.least_lanes = u32::try_from(lanes).unwrap_or(u32::MAX);
        self
    }

    /// Cooperative matrices of `size` x `size`, which subgroups multiply.
    pub(super) fn matrices(self, size: usize) -> Self {
        let needs: &[Need] = match (size, self.element) {
            (16, _) => &[Need::ShaderF16, Need::Subgroup, Need::Matrix16],
            (_, StorageType::F32) => &[Need::Subgroup, Need::Matrix8F32],
            _ => &[Need::ShaderF16, Need::Subgroup, Need::Matrix8],
        };
        self.needs(needs).constant("SIZE", if size == 16 { 16 } else { 8 })
    }

    /// Subgroups of at most so many lanes.
    pub(super) fn most_lanes(mut self, lanes: u32) -> Self {
        self.most_lanes = Some(lanes);
        self
    }

    pub(super) fn constant(mut self, name: &'static str, value: u32) -> Self {
        self.constants.insert(name, value);
        self
    }

    pub(super) fn constants(mut self, constants: impl IntoIterator<Item = (&'static str, u32)>) -> Self {
        self.constants.extend(constants);
        self
    }

    pub(super) fn overrides(mut self, overrides: impl IntoIterator<Item = (&'static str, f64)>) -> Self {
        self.overrides.extend(overrides);
        self
    }

    pub(super) fn params(mut self, params: impl IntoIterator<Item = (&'static str, u32)>) -> Self {
        self.params.extend(params);
        self
    }

    pub(super) fn bindings(mut self, bindings: impl IntoIterator<Item = usize>) -> Self {
        self.bindings.extend(bindings);
        self
    }

    pub(super) fn grid(mut self, grid: [u32; 3]) -> Self {
        self.grid = grid;
        self
    }
}

impl Launch {
    /// Shader, type, constants and overrides in one line: what a driver compiles, by name.
    pub fn name(&self) -> String {
        let constants = self.constants.iter().map(|(name, value)| format!(" {name}={value}"));
        let overrides = self.overrides.iter().map(|(name, value)| format!(" {name}={value}"));
        format!("{} {}{}", self.shader, self.element, constants.chain(overrides).collect::<String>())
    }

    /// A hash of what a driver compiles: the shader's text and the values of its overrides. It names a row of the results
    /// that `make lab` writes.
    pub fn fingerprint(&self) -> String {
        let text = self.wgsl().unwrap_or_default();
        let hash = Sha256::digest(format!("{:?}\n{text}", self.overrides));
        hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The text of the shader for this launch's type, matrix size and constants; `None` if there is no such file.
    pub fn wgsl(&self) -> Option<Cow<'static, str>> {
        let mut text = wgsl(self.shader, self.element)?;
        if self.needs.contains(&Need::Matrix16) {
            text = Cow::Owned(with_matrices_of_16(&text));
        }
        for (name, value) in &self.constants {
            text = Cow::Owned(with_constant(&text, name, *value));
        }
        Some(text)
    }

    /// Whether subgroups multiply matrices.
    pub fn has_matrices(&self) -> bool {
        [Need::Matrix8, Need::Matrix8F32, Need::Matrix16].iter().any(|need| self.needs.contains(need))
    }

    /// The unit that its shader multiplies with. Matrices in f32 count as f32, whose rate they hardly pass on Apple's GPUs.
    fn operation(&self) -> Operation {
        if self.needs.contains(&Need::Matrix8) || self.needs.contains(&Need::Matrix16) {
            Operation::MatrixF16
        } else if self.needs.contains(&Need::PackedDot) {
            Operation::DotI8
        } else if self.element == StorageType::F16 {
            Operation::F16
        } else {
            Operation::F32
        }
    }
}
