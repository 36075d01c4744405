//! Decode: attention of one query per sequence over a contiguous cache.

use std::collections::BTreeMap;

use crate::kernels::attention::heads::{Heads, halved, shrink};
use crate::kernels::attention::operands::{TwinBudget, bytes_of, compare_rows, normal, scale_bits};
use crate::kernels::attention::seen::{shown, sink_logits, visible, window_word};
use crate::kernels::attention::split::SplitBuffers;
use crate::kernels::attention::variant::{DECODE_NAMES, DecodeVariant};
use crate::kernels::kernel::{Kernel, if_smaller};
use crate::kernels::plan::{Output, Plan, Role};
use crate::kernels::tensor::Tensors;
use crate::kernels::twin;
use crate::kernels::types::{Extent, StorageType, Work, named, word};
use crate::kernels::verification::Verification;
use crate::units::{Bytes, Flop};

/// Attention of one query per sequence over its cache.
#[derive(Debug, Clone)]
pub struct Decode {
    /// Heads.
    pub heads: Heads,
    /// Sequences.
    pub sequences: usize,
    /// Keys per sequence.
    pub kv_len: usize,
    /// Keys that a query sees, the last ones; `None`: all.
    pub window: Option<usize>,
    /// Whether each query head has a sink: a logit that joins the softmax without a value.
    pub sinks: bool,
}

impl Decode {
    /// Every query sees every key, without sinks.
    pub fn new(heads: Heads, sequences: usize, kv_len: usize) -> Self {
        Self { heads, sequences, kv_len, window: None, sinks: false }
    }

    /// Keys that a query sees.
    fn visible(&self) -> usize {
        visible(self.kv_len, self.window)
    }

    fn q_dims(&self) -> [usize; 3] {
        [self.sequences, self.heads.heads, self.heads.head_dim]
    }

    fn kv_dims(&self) -> [usize; 4] {
        [self.sequences, self.kv_len, self.heads.kv_heads, self.heads.head_dim]
    }
}

/// The least work of any decode over `keys` keys in all.
pub(super) fn work(heads: &Heads, sequences: usize, keys: usize, element: StorageType) -> Work {
    let q_bytes = bytes_of(&[sequences, heads.heads, heads.head_dim], element);
    let kv_bytes = bytes_of(&[2, keys, heads.kv_heads, heads.head_dim], element);
    Work {
        flop: Flop::new(4.0 * (keys * heads.heads * heads.head_dim) as f64),
        bytes_read: Bytes::new((q_bytes + kv_bytes) as f64),
        bytes_written: Bytes::new(q_bytes as f64),
    }
}

impl Kernel for Decode {
    fn name(&self) -> &'static str {
        "decode"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        let mut shape = named(&self.heads.shape());
        shape.extend(named(&[("sequences", self.sequences), ("kv_len", self.kv_len)]));
        shape.extend(shown(self.window, self.sinks));
        shape
    }

    fn variants(&self) -> &'static [&'static str] {
        &DECODE_NAMES
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
        let q = plan.buffer("q", Role::Input, bytes_of(&self.q_dims(), element));
        let k = plan.buffer("k", Role::Input, bytes_of(&self.kv_dims(), element));
        let v = plan.buffer("v", Role::Input, bytes_of(&self.kv_dims(), element));
        let parts = SplitBuffers::new(&mut plan, self.q_dims(), splits);
        let out = plan.buffer("out", Role::Output, bytes_of(&self.q_dims(), element));
        plan.launch(
            variant
                .launch(element, &self.heads, self.sequences, splits)
                .params([
                    ("sequences", word(self.sequences)),
                    ("kv_len", word(self.kv_len)),
                    ("heads", word(heads)),
                    ("kv_heads", word(kv_heads)),
                    ("splits", word(splits)),
                    ("window", window_word(self.window)),
                    ("scale", scale_bits(head_dim)),
                ])
                .bindings([q, k, v, parts.state, parts.out]),
        );
        parts.reduce(&mut plan, element, out, self.q_dims());
        plan
    }

    fn inputs(&self, _variant: &str, element: StorageType, seed: u64) -> Tensors {
        Tensors::from([
            ("q", normal(&self.q_dims(), element, seed ^ 0xA)),
            ("k", normal(&self.kv_dims(), element, seed ^ 0xB)),
            ("v", normal(&self.kv_dims(), element, seed ^ 0xC)),
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
            let cache = twin::attention::Cache { k: &inputs["k"], v: &inputs["v"], seen };
            twin::attention::decode(&inputs["q"], &cache, sequence, head)
        })
    }
}
