//! A kernel run as data: buffers with their initial contents, and launches over them in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Element, Work};

/// Everything needed to run one kernel case and to know what it costs at least.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Buffers, referred to by index.
    pub buffers: Vec<Buffer>,
    /// Launches in order; each sees what the ones before it wrote.
    pub launches: Vec<Launch>,
    /// Useful work of one run over all launches.
    pub work: Work,
}

/// One storage buffer.
#[derive(Debug, Clone)]
pub struct Buffer {
    /// The name of the WGSL variable that it is bound to.
    pub name: &'static str,
    /// Size, a multiple of 4.
    pub size_bytes: u64,
    /// What it holds before the first launch.
    pub contents: Contents,
    /// Whether it is read, produced, or neither from outside.
    pub role: Role,
}

/// What a buffer holds before the first launch.
#[derive(Debug, Clone)]
pub enum Contents {
    /// These bytes.
    Data(Arc<[u8]>),
    /// A bit pattern that no kernel should produce (NaN as f32 and f16, out of range as an index), so that an element
    /// which was never written shows.
    Poison,
}

/// The part that a buffer plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Read only.
    Input,
    /// Compared with the twin.
    Output,
    /// Passed between launches.
    Scratch,
}

/// One kernel launch.
#[derive(Debug, Clone)]
pub struct Launch {
    /// File name under shaders/, without `.wgsl`.
    pub shader: &'static str,
    /// Type that replaces `alias Element = f32`.
    pub element: Element,
    /// Values of the shader's `override` constants.
    pub overrides: BTreeMap<&'static str, f64>,
    /// Fields of the shader's `Params` uniform in order, each one 32-bit word; empty where it has none.
    pub params: Vec<(&'static str, u32)>,
    /// Storage bindings in order, after the uniform.
    pub bindings: Vec<Binding>,
    /// Workgroups in x, y and z.
    pub grid: [u32; 3],
}

/// A buffer at a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// Index into [`Plan::buffers`].
    pub buffer: usize,
    /// The name of the WGSL variable.
    pub name: &'static str,
    /// Whether the kernel writes it.
    pub writable: bool,
}

/// The word that fills poisoned buffers: a NaN as f32, two NaNs as f16, and far out of range as an index.
pub const POISON_WORD: u32 = 0xFFF7_FFF7;
