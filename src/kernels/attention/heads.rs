//! Heads of attention, and the smaller sizes of a kernel with heads, sequences and keys.

/// Heads of grouped-query attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Size of a head: a multiple of 4, at most 128. Decode by group takes up to 256.
    pub head_dim: usize,
}

impl Heads {
    /// Query heads per key head.
    pub(super) fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Size of a head in vec4.
    pub(super) fn head_dim4(&self) -> usize {
        self.head_dim / 4
    }

    /// Half of the key heads with their query heads. With one key head, half of the query heads. `None` for a single head.
    pub(crate) fn halved(self) -> Option<Self> {
        let (heads, kv_heads) = (self.heads / 2, self.kv_heads / 2);
        if kv_heads > 0 {
            Some(Self { heads: kv_heads * self.group(), kv_heads, ..self })
        } else {
            (heads > 0).then_some(Self { heads, ..self })
        }
    }

    /// The sizes by name.
    pub(super) fn shape(&self) -> [(&'static str, usize); 3] {
        [("heads", self.heads), ("kv_heads", self.kv_heads), ("head_dim", self.head_dim)]
    }
}

/// The least number of queries and keys of a trial.
pub(super) const TRIAL_LEN: usize = 128;

/// Halves the sequences, then the keys, while `is_too_large`.
pub(super) fn shrink(sequences: &mut usize, kv_len: &mut usize, is_too_large: impl Fn(usize, usize) -> bool) {
    while is_too_large(*sequences, *kv_len) {
        if *sequences > 1 {
            *sequences = sequences.div_ceil(2);
        } else if *kv_len > 2 * TRIAL_LEN {
            *kv_len = kv_len.div_ceil(2);
        } else {
            break;
        }
    }
}

/// Half of a count of sequences, queries or heads; `None` if there is only one.
pub(super) fn halved(count: usize) -> Option<usize> {
    (count > 1).then_some(count / 2)
}
