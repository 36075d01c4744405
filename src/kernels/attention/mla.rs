//! Decode of multi-head latent attention in absorbed form (DeepSeek-V2, arXiv:2405.04434, section 2.1). The projections of
//! keys and values are folded into the query and the output, so that all heads attend to one cached latent.

use std::collections::BTreeMap;

use crate::kernels::attention::heads::{halved, shrink};
use crate::kernels::attention::operands::{TwinBudget, bytes_of, compare_rows, normal, scale_bits};
use crate::kernels::attention::seen::sink_logits;
use crate::kernels::attention::split::{SplitBuffers, splits};
use crate::kernels::attention::variant::{MLA_NAMES, MlaVariant};
use crate::kernels::kernel::{Kernel, if_smaller};
use crate::kernels::plan::{Output, Plan, Role};
use crate::kernels::tensor::{Tensor, Tensors};
use crate::kernels::twin;
use crate::kernels::types::{Extent, StorageType, Work, named, word};
use crate::kernels::verification::Verification;
use crate::units::{Bytes, Flop};

/// Latent attention of one query per sequence over its cache of `latent_dim + rope_dim` numbers per token. The whole entry
/// is the key; its first `latent_dim` numbers are also the value.
#[derive(Debug, Clone)]
pub struct MlaDecode {
    /// Heads, which all attend to the same latent.
    pub heads: usize,
    /// Rank of the cached latent: a multiple of 4, at most 512.
    pub latent_dim: usize,
    /// Width of the rotary part of a key: a multiple of 4, at most 64.
    pub rope_dim: usize,
    /// Width of an unabsorbed key, 128 + 64 in DeepSeek-V3. Scores are divided by its square root.
    pub key_dim: usize,
    /// Sequences.
    pub sequences: usize,
    /// Cached tokens per sequence.
    pub kv_len: usize,
}

/// Where the entries of a cache lie in memory: in blocks, which a table names.
pub(super) struct Blocks {
    /// Bytes of all blocks.
    pub(super) cache_bytes: usize,
    /// Entries per block.
    pub(super) block: usize,
    /// Blocks per sequence.
    pub(super) table_width: usize,
}

impl MlaDecode {
    /// Numbers per token in the cache.
    pub(super) fn entry(&self) -> usize {
        self.latent_dim + self.rope_dim
    }

    fn q_dims(&self) -> [usize; 3] {
        [self.sequences, self.heads, self.entry()]
    }

    fn cache_dims(&self) -> [usize; 3] {
        [self.sequences, self.kv_len, self.entry()]
    }

    /// Dimensions of the output.
    pub(super) fn out_dims(&self) -> [usize; 3] {
        [self.sequences, self.heads, self.latent_dim]
    }

    fn flop(&self) -> Flop {
        let pairs = (self.sequences * self.heads * self.kv_len) as f64;
        Flop::new(2.0 * pairs * (self.latent_dim + self.entry()) as f64)
    }

    /// The least work over any kind of cache.
    pub(super) fn work(&self, element: StorageType) -> Work {
        let [q_bytes, cache_bytes, out_bytes] =
            [self.q_dims(), self.cache_dims(), self.out_dims()].map(|dims| bytes_of(&dims, element));
        Work {
            flop: self.flop(),
            bytes_read: Bytes::new((q_bytes + cache_bytes) as f64),
            bytes_written: Bytes::new(out_bytes as f64),
        }
    }

    /// The sizes by name.
    pub(super) fn sizes(&self) -> [(&'static str, usize); 5] {
        [
            ("heads", self.heads),
            ("latent_dim", self.latent_dim),
            ("rope_dim", self.rope_dim),
            ("sequences", self.sequences),
            ("kv_len", self.kv_len),
        ]
    }

    /// Whether a variant can compute latents of these sizes.
    pub(super) fn fits(&self, variant: &str) -> bool {
        MlaVariant::of(variant).suits(self.latent_dim, self.rope_dim)
    }

    /// Fewer sequences, or fewer tokens, so that the work is within `most` or near it.
    pub(super) fn shrunk(&self, most: Extent) -> Self {
        let mut small = self.clone();
        shrink(&mut small.sequences, &mut small.kv_len, |sequences, kv_len| {
            most.is_exceeded_by(&Self { sequences, kv_len, ..self.clone() }.work(StorageType::F32))
        });
        small
    }

    /// Half of the sequences.
    pub(super) fn with_fewer_sequences(&self) -> Option<Self> {
        halved(self.sequences).map(|sequences| Self { sequences, ..self.clone() })
    }

    /// Half of the heads.
    pub(super) fn with_fewer_heads(&self) -> Option<Self> {
        halved(self.heads).map(|heads| Self { heads, ..self.clone() })
    }

    /// The plan over a cache in blocks.
    pub(super) fn plan_over(&self, blocks: &Blocks, variant: &str, element: StorageType) -> Plan {
        let variant = MlaVariant::of(variant);
        let groups = self.heads.div_ceil(variant.heads);
        let splits = splits(1024, self.sequences * groups, self.kv_len);
        let [q_bytes, out_bytes] = [self.q_dims(), self.out_dims()].map(|dims| bytes_of(&dims, element));
        let mut plan = Plan::new(self.work(element));
        let q = plan.buffer("q", Role::Input, q_bytes);
        let cache = plan.buffer("cache", Role::Input, blocks.cache_bytes);
        let block_table = plan.buffer("block_table", Role::Input, self.sequences * blocks.table_width * 4);
        let parts = SplitBuffers::new(&mut plan, self.out_dims(), splits);
        let out = plan.buffer("out", Role::Output, out_bytes);
        plan.launch(
            variant
                .launch(element, self.latent_dim, self.rope_dim)
                .overrides([("BLOCK", blocks.block as f64)])
                .params([
                    ("sequences", word(self.sequences)),
                    ("kv_len", word(self.kv_len)),
                    ("heads", word(self.heads)),
                    ("splits", word(splits)),
                    ("table_width", word(blocks.table_width)),
                    ("scale", scale_bits(self.key_dim)),
                ])
                .bindings([q, cache, block_table, parts.state, parts.out])
                .grid([word(splits), word(groups), word(self.sequences)]),
        );
        parts.reduce(&mut plan, element, out, self.out_dims());
        plan
    }

    /// The drawn queries.
    pub(super) fn queries(&self, element: StorageType, seed: u64) -> Tensor {
        normal(&self.q_dims(), element, seed ^ 0xA)
    }

    /// Multiply-adds of the twin per head of a sequence.
    pub(super) fn twin_cost(&self) -> usize {
        self.kv_len * (self.latent_dim + self.entry())
    }
}

impl Kernel for MlaDecode {
    fn name(&self) -> &'static str {
        "mla_decode"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&self.sizes())
    }

    fn variants(&self) -> &'static [&'static str] {
        &MLA_NAMES
    }

    fn elements(&self) -> &'static [StorageType] {
        StorageType::FLOATS
    }

    fn variant_elements(&self, variant: &str) -> &'static [StorageType] {
        MlaVariant::of(variant).elements()
    }

    fn suits(&self, variant: &str) -> bool {
        self.fits(variant)
    }

    fn smaller(&self, most: Extent) -> Option<Box<dyn Kernel>> {
        if_smaller(self.shrunk(most), self)
    }

    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        self.with_fewer_sequences().map(|fewer| Box::new(fewer) as Box<dyn Kernel>)
    }

    fn narrower(&self) -> Option<Box<dyn Kernel>> {
        self.with_fewer_heads().map(|fewer| Box::new(fewer) as Box<dyn Kernel>)
    }

    fn layout(&self, _variant: &str) -> usize {
        0
    }

    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        let cache_bytes = bytes_of(&self.cache_dims(), element);
        self.plan_over(&Blocks { cache_bytes, block: self.kv_len, table_width: 1 }, variant, element)
    }

    fn inputs(&self, _variant: &str, element: StorageType, seed: u64) -> Tensors {
        let in_order: Vec<u32> = (0..word(self.sequences)).collect();
        Tensors::from([
            ("q", self.queries(element, seed)),
            ("cache", normal(&self.cache_dims(), element, seed ^ 0xB)),
            ("block_table", Tensor::indices(&in_order)),
            ("sinks", sink_logits(self.heads, false, seed)),
        ])
    }

    fn outputs(&self, _variant: &str, element: StorageType) -> Vec<Output> {
        vec![Output::new("out", &self.out_dims(), &self.out_dims(), element)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        let cache = twin::attention::LatentCache {
            entries: &inputs["cache"],
            latent_dim: self.latent_dim,
            key_dim: self.key_dim,
        };
        let budget = TwinBudget { cost: self.twin_cost(), effort };
        compare_rows(outputs, self.out_dims(), element, budget, |sequence, head| {
            twin::attention::mla_decode(&inputs["q"], &cache, sequence, head)
        })
    }
}
