//! Paged decode: attention of one query per sequence over a cache in blocks, found through a block table, as in vLLM (Kwon
//! et al., arXiv:2309.06180).

use std::collections::BTreeMap;

use crate::kernels::attention::decode::work;
use crate::kernels::attention::heads::{Heads, halved, shrink};
use crate::kernels::attention::operands::{TwinBudget, bytes_of, compare_rows, normal, scale_bits};
use crate::kernels::attention::pool::BlockPool;
use crate::kernels::attention::seen::{shown, sink_logits, visible, window_word};
use crate::kernels::attention::split::SplitBuffers;
use crate::kernels::attention::variant::{DecodeVariant, PAGED_NAMES};
use crate::kernels::kernel::{Kernel, if_smaller};
use crate::kernels::plan::{Output, Plan, Role};
use crate::kernels::tensor::Tensors;
use crate::kernels::twin;
use crate::kernels::types::{Extent, StorageType, named, word};
use crate::kernels::verification::Verification;

/// Attention of one query per sequence over its blocks, which are scattered over the pool.
#[derive(Debug, Clone)]
pub struct PagedDecode {
    /// Heads.
    pub heads: Heads,
    /// Sequences.
    pub sequences: usize,
    /// Keys per sequence.
    pub kv_len: usize,
    /// Keys per block.
    pub block: usize,
    /// Keys that a query sees, the last ones; `None`: all.
    pub window: Option<usize>,
    /// Whether each query head has a sink: a logit that joins the softmax without a value.
    pub sinks: bool,
}

impl PagedDecode {
    /// Every query sees every key, without sinks.
    pub fn new(heads: Heads, sequences: usize, kv_len: usize, block: usize) -> Self {
        Self { heads, sequences, kv_len, block, window: None, sinks: false }
    }

    /// Keys that a query sees.
    fn visible(&self) -> usize {
        visible(self.kv_len, self.window)
    }

    fn q_dims(&self) -> [usize; 3] {
        [self.sequences, self.heads.heads, self.heads.head_dim]
    }

    fn pool(&self) -> BlockPool {
        BlockPool { sequences: self.sequences, kv_len: self.kv_len, block: self.block }
    }

    fn pool_dims(&self) -> [usize; 3] {
        [self.pool().tokens(), self.heads.kv_heads, self.heads.head_dim]
    }
}

impl Kernel for PagedDecode {
    fn name(&self) -> &'static str {
        "decode_paged"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        let mut shape = named(&self.heads.shape());
        shape.extend(named(&[("sequences", self.sequences), ("kv_len", self.kv_len), ("block", self.block)]));
        shape.extend(shown(self.window, self.sinks));
        shape
    }

    fn variants(&self) -> &'static [&'static str] {
        &PAGED_NAMES
    }

    fn elements(&self) -> &'static [StorageType] {
        StorageType::FLOATS
    }

    fn suits(&self, variant: &str) -> bool {
        DecodeVariant::of(variant).suits(&self.heads)
    }

    fn smaller(&self, most: Extent) -> Option<Box<dyn Kernel>> {
        let mut small = self.clone();
        shrink(&mut small.sequences, &mut small.kv_len, |sequences, kv_len| {
            let keys = sequences * visible(kv_len, self.window);
            most.is_exceeded_by(&work(&self.heads, sequences, keys, StorageType::F32))
        });
        if_smaller(small, self)
    }

    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        halved(self.sequences).map(|sequences| Box::new(Self { sequences, ..self.clone() }) as Box<dyn Kernel>)
    }

    fn layout(&self, _variant: &str) -> usize {
        0
    }

    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        let Heads { heads, kv_heads, head_dim } = self.heads;
        let variant = DecodeVariant::of(variant);
        let splits = variant.splits(&self.heads, self.sequences, self.visible());
        let mut plan = Plan::new(work(&self.heads, self.sequences, self.sequences * self.visible(), element));
        let pool_bytes = bytes_of(&self.pool_dims(), element);
        let q = plan.buffer("q", Role::Input, bytes_of(&self.q_dims(), element));
        let k = plan.buffer("k", Role::Input, pool_bytes);
        let v = plan.buffer("v", Role::Input, pool_bytes);
        let block_table = plan.buffer("block_table", Role::Input, self.sequences * self.pool().table_width() * 4);
        let parts = SplitBuffers::new(&mut plan, self.q_dims(), splits);
        let out = plan.buffer("out", Role::Output, bytes_of(&self.q_dims(), element));
        plan.launch(
            variant
                .paged_launch(element, &self.heads, self.sequences, splits)
                .overrides([("BLOCK", self.block as f64)])
                .params([
                    ("sequences", word(self.sequences)),
                    ("kv_len", word(self.kv_len)),
                    ("heads", word(heads)),
                    ("kv_heads", word(kv_heads)),
                    ("splits", word(splits)),
                    ("window", window_word(self.window)),
                    ("table_width", word(self.pool().table_width())),
                    ("scale", scale_bits(head_dim)),
                ])
                .bindings([q, k, v, block_table, parts.state, parts.out]),
        );
        parts.reduce(&mut plan, element, out, self.q_dims());
        plan
    }

    fn inputs(&self, _variant: &str, element: StorageType, seed: u64) -> Tensors {
        Tensors::from([
            ("q", normal(&self.q_dims(), element, seed ^ 0xA)),
            ("k", normal(&self.pool_dims(), element, seed ^ 0xB)),
            ("v", normal(&self.pool_dims(), element, seed ^ 0xC)),
            ("block_table", self.pool().table(seed ^ 0xD)),
            ("sinks", sink_logits(self.heads.heads, self.sinks, seed ^ 0xE)),
        ])
    }

    fn outputs(&self, _variant: &str, element: StorageType) -> Vec<Output> {
        vec![Output::new("out", &self.q_dims(), &self.q_dims(), element)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        let cost = 2 * self.visible() * self.heads.head_dim;
        let sinks = self.sinks.then(|| &inputs["sinks"]);
        let seen = twin::attention::Seen { window: self.window, sinks };
        compare_rows(outputs, self.q_dims(), element, TwinBudget { cost, effort }, |sequence, head| {
            let cache = twin::attention::Pages {
                k: &inputs["k"],
                v: &inputs["v"],
                block_table: &inputs["block_table"],
                block: self.block,
                seen,
            };
            twin::attention::decode_paged(&inputs["q"], &cache, self.kv_len, sequence, head)
        })
    }
}
