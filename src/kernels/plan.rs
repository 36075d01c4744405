//! A kernel run as data: buffers, and launches over them in order.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use super::sources::with_constant;
use super::{Element, Operation, Work, wgsl};
use crate::units::Flop;

/// Everything needed to run one kernel case, and what it costs at least. Inputs come separately, by buffer name.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Buffers, referred to by index.
    pub buffers: Vec<Buffer>,
    /// Launches in order; each sees what the ones before it wrote.
    pub launches: Vec<Launch>,
    /// Useful work of one run over all launches.
    pub work: Work,
    /// Floating-point operations that the launches issue, padding included: never less than `work.flop`.
    pub issued_flop: Flop,
    /// The kernels of a whole layer, in order; empty for a single kernel.
    pub parts: Vec<PartOf>,
}

/// One kernel inside the plan of a whole layer.
#[derive(Debug, Clone)]
pub struct PartOf {
    /// What it computes.
    pub kernel: &'static str,
    /// How.
    pub variant: &'static str,
    /// Its launches.
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
    /// Whether it is read, produced, or neither from outside.
    pub role: Role,
    /// Bytes that are zero from the start and stay so: behind the last row where a kernel reads whole tiles of rows. The
    /// operands of an input hold them; in a layer the kernel before writes only the rows that there are. Empty elsewhere.
    pub padding: Range<u64>,
}

/// The part that a buffer plays. All but inputs and padding are poisoned before verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Read only.
    Input,
    /// Compared with the twin.
    Output,
    /// An output of which each set of inputs has its own: for probes that write past every cache.
    Rotated,
    /// Passed between launches.
    Scratch,
}

/// One kernel launch.
#[derive(Debug, Clone)]
pub struct Launch {
    /// File name under shaders/, without `.wgsl`.
    pub shader: &'static str,
    /// Type that the shader is specialised for.
    pub element: Element,
    /// Numbers of the shader's `const` lines that this launch changes: array sizes in registers, which no `override` can
    /// set.
    pub constants: BTreeMap<&'static str, u32>,
    /// Values of the shader's `override` constants.
    pub overrides: BTreeMap<&'static str, f64>,
    /// Fields of the shader's `Params` uniform in order, each one 32-bit word; empty where it has none.
    pub params: Vec<(&'static str, u32)>,
    /// Buffers at the storage bindings in order (the uniform, where there is one, comes first).
    pub bindings: Vec<usize>,
    /// Workgroups in x, y and z.
    pub grid: [u32; 3],
}

/// The word that fills poisoned buffers: a NaN as f32, two NaNs as f16, and far out of range as an index.
pub const POISON_WORD: u32 = 0xFFF7_FFF7;

impl Plan {
    /// Starts a plan whose buffers will be numbered in the order they are added.
    pub(super) fn new(work: Work) -> Self {
        Self { buffers: Vec::new(), launches: Vec::new(), work, issued_flop: work.flop, parts: Vec::new() }
    }

    pub(super) fn buffer(&mut self, name: &'static str, role: Role, bytes: usize) -> usize {
        let size_bytes = (bytes.max(4) as u64).next_multiple_of(16);
        self.buffers.push(Buffer { name, size_bytes, role, padding: 0..0 });
        self.buffers.len() - 1
    }

    /// A buffer with zeros behind its `bytes`, up to `padded`.
    pub(super) fn padded_buffer(&mut self, name: &'static str, role: Role, bytes: usize, padded: usize) -> usize {
        let index = self.buffer(name, role, padded);
        self.buffers[index].padding = bytes as u64..padded as u64;
        index
    }

    pub(super) fn launch(
        &mut self,
        shader: &'static str,
        element: Element,
        overrides: BTreeMap<&'static str, f64>,
        bindings: Vec<usize>,
        grid: [u32; 3],
    ) -> &mut Launch {
        let (constants, params) = (BTreeMap::new(), Vec::new());
        self.launches.push(Launch { shader, element, constants, overrides, params, bindings, grid });
        let last = self.launches.len() - 1;
        &mut self.launches[last]
    }

    /// The arithmetic by the unit that does it. A kernel's launches that do not multiply (a reduction, say) count with
    /// those that do, so the fastest unit of any launch speaks for the kernel.
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

    /// What each set of buffers adds: inputs, and outputs that rotate with them.
    pub fn bytes_of_a_set(&self) -> u64 {
        let rotates = |buffer: &&Buffer| matches!(buffer.role, Role::Input | Role::Rotated);
        self.buffers.iter().filter(rotates).map(|buffer| buffer.size_bytes).sum()
    }

    /// Bytes of all inputs.
    pub fn input_bytes(&self) -> u64 {
        let inputs = self.buffers.iter().filter(|buffer| buffer.role == Role::Input);
        inputs.map(|buffer| buffer.size_bytes).sum()
    }

    /// The largest buffer, which has to fit one binding.
    pub fn largest_buffer_bytes(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.size_bytes).max().unwrap_or(0)
    }

    /// All buffers together.
    pub fn total_bytes(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.size_bytes).sum()
    }

    /// The largest number of workgroups along one axis of any launch.
    pub fn largest_grid_axis(&self) -> u32 {
        self.launches.iter().flat_map(|launch| launch.grid).max().unwrap_or(0)
    }

    /// Useful over issued FLOP: what padding leaves. 1 for a plan without arithmetic.
    pub fn useful_fraction(&self) -> f64 {
        if self.issued_flop.is_positive() { self.work.flop / self.issued_flop } else { 1.0 }
    }
}

impl Launch {
    /// The text of the shader for this launch's type and constants; `None` where there is no such file.
    pub fn wgsl(&self) -> Option<Cow<'static, str>> {
        let mut text = wgsl(self.shader, self.element)?;
        for (name, value) in &self.constants {
            text = Cow::Owned(with_constant(&text, name, *value));
        }
        Some(text)
    }
}

impl Launch {
    /// The unit that its shader multiplies with, read off the shader.
    fn operation(&self) -> Operation {
        let text = self.wgsl().unwrap_or_default();
        if text.contains("coopMultiplyAdd") {
            Operation::MatrixF16
        } else if text.contains("dot4I8Packed") {
            Operation::DotI8
        } else if self.element == Element::F16 {
            Operation::F16
        } else {
            Operation::F32
        }
    }
}
