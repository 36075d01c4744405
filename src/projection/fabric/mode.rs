//! Which kernels move tokens to experts and back.

/// The two kinds of all-to-all kernels, as DeepEP has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For few tokens: each copy goes straight to its expert.
    LowLatency,
    /// For many tokens: a token goes through buffers, once to each rank that needs it, or once to each node if that is
    /// faster. The node forwards it inside.
    Normal,
}
