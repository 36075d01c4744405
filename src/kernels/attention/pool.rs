//! The pool of a paged cache: how many blocks it has, and which of them each sequence holds.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::kernels::tensor::Tensor;
use crate::kernels::types::word;

/// The blocks of `sequences` caches of `kv_len` tokens each.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockPool {
    pub(super) sequences: usize,
    pub(super) kv_len: usize,
    /// Tokens per block.
    pub(super) block: usize,
}

impl BlockPool {
    /// Blocks per sequence; the last may be partly filled.
    pub(super) fn table_width(&self) -> usize {
        self.kv_len.div_ceil(self.block)
    }

    /// Blocks of the sequences.
    fn used(&self) -> usize {
        self.sequences * self.table_width()
    }

    /// Blocks of the pool: those of the sequences, and one unused block per eight of them.
    fn blocks(&self) -> usize {
        self.used() + self.used().div_ceil(8)
    }

    /// Tokens that the pool has room for.
    pub(super) fn tokens(&self) -> usize {
        self.blocks() * self.block
    }

    /// The block table [sequences, table_width]: a random choice of blocks without repetition.
    pub(super) fn table(&self, seed: u64) -> Tensor {
        let mut blocks: Vec<u32> = (0..word(self.blocks())).collect();
        blocks.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        blocks.truncate(self.used());
        Tensor::indices(&blocks)
    }
}
