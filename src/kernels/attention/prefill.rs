//! Prefill: attention of many queries at once, causal or not. Values may be narrower than keys, as in DeepSeek-V3.

use std::collections::BTreeMap;

use crate::kernels::attention::heads::{Heads, TRIAL_LEN, halved};
use crate::kernels::attention::operands::{TwinBudget, bytes_of, compare_rows, normal, scale_bits};
use crate::kernels::attention::seen::{shown, sink_logits, window_word};
use crate::kernels::attention::variant::{PREFILL_NAMES, PrefillVariant};
use crate::kernels::kernel::{Kernel, if_smaller};
use crate::kernels::plan::{Output, Plan, Role};
use crate::kernels::tensor::Tensors;
use crate::kernels::twin;
use crate::kernels::types::{Extent, StorageType, Work, named, word};
use crate::kernels::verification::Verification;
use crate::units::{Bytes, Flop};

/// Attention of `q_len` queries over `kv_len` keys.
#[derive(Debug, Clone)]
pub struct Prefill {
    /// Heads; `head_dim` is that of queries and keys, at most 192.
    pub heads: Heads,
    /// Size of a value: a multiple of 4, at most 128 and at most `head_dim`.
    pub value_dim: usize,
    /// Queries.
    pub q_len: usize,
    /// Keys. Under `causal` there are at least `q_len`, and more if the prompt comes in chunks.
    pub kv_len: usize,
    /// Whether a query sees only the keys up to its own position. The last query is at the position of the last key.
    pub causal: bool,
    /// Sliding window, at least 1; only under `causal`. A query then sees this many keys at most, its own position included.
    pub window: Option<usize>,
    /// Whether each query head has a sink: a learned logit that takes part in the softmax but has no value.
    pub sinks: bool,
}

impl Prefill {
    /// Causal attention with keys and values of one size.
    pub fn causal(heads: Heads, q_len: usize, kv_len: usize) -> Self {
        Self { heads, value_dim: heads.head_dim, q_len, kv_len, causal: true, window: None, sinks: false }
    }

    /// The number of pairs of a query and a visible key.
    fn pairs(&self) -> f64 {
        let (q, kv) = (self.q_len as f64, self.kv_len as f64);
        if !self.causal {
            return q * kv;
        }
        let past = kv - q;
        // The first queries see as many keys as their position says, the others a whole window.
        let short = self.window.map_or(q, |window| (window as f64 - past).clamp(0.0, q));
        let whole = self.window.map_or(0.0, |window| (q - short) * window as f64);
        short * past + short * (short + 1.0) / 2.0 + whole
    }

    /// The number of keys that some query sees.
    fn keys_seen(&self) -> usize {
        let seen = self.window.filter(|_| self.causal).map_or(self.kv_len, |window| window + self.q_len - 1);
        seen.min(self.kv_len)
    }

    /// Operations: per visible pair 2 head_dim for the score and 2 value_dim for the weighted sum.
    fn flop(&self) -> Flop {
        let Heads { heads, head_dim, .. } = self.heads;
        Flop::new(2.0 * self.pairs() * (heads * (head_dim + self.value_dim)) as f64)
    }

    fn work(&self, element: StorageType) -> Work {
        let Heads { heads, kv_heads, head_dim } = self.heads;
        let kv_dims = [self.keys_seen(), kv_heads, head_dim + self.value_dim];
        let [q_bytes, kv_bytes, out_bytes] =
            [self.q_dims(), kv_dims, self.out_dims()].map(|dims| bytes_of(&dims, element));
        let sink_bytes = if self.sinks { 4 * heads } else { 0 };
        Work {
            flop: self.flop(),
            bytes_read: Bytes::new((q_bytes + kv_bytes + sink_bytes) as f64),
            bytes_written: Bytes::new(out_bytes as f64),
        }
    }

    fn q_dims(&self) -> [usize; 3] {
        [self.q_len, self.heads.heads, self.heads.head_dim]
    }

    fn k_dims(&self) -> [usize; 3] {
        [self.kv_len, self.heads.kv_heads, self.heads.head_dim]
    }

    fn v_dims(&self) -> [usize; 3] {
        [self.kv_len, self.heads.kv_heads, self.value_dim]
    }

    fn out_dims(&self) -> [usize; 3] {
        [self.q_len, self.heads.heads, self.value_dim]
    }
}

impl Kernel for Prefill {
    fn name(&self) -> &'static str {
        match (self.value_dim == self.heads.head_dim, self.causal) {
            (true, true) => "prefill",
            (true, false) => "prefill_full",
            (false, true) => "mla_prefill",
            (false, false) => "mla_prefill_full",
        }
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        let mut shape = named(&self.heads.shape());
        shape.extend(named(&[("q_len", self.q_len), ("kv_len", self.kv_len)]));
        if self.value_dim != self.heads.head_dim {
            shape.extend(named(&[("value_dim", self.value_dim)]));
        }
        shape.extend(shown(self.window, self.sinks));
        shape
    }

    fn variants(&self) -> &'static [&'static str] {
        &PREFILL_NAMES
    }

    fn elements(&self) -> &'static [StorageType] {
        StorageType::FLOATS
    }

    fn variant_elements(&self, variant: &str) -> &'static [StorageType] {
        PrefillVariant::of(variant).elements()
    }

    fn suits(&self, variant: &str) -> bool {
        PrefillVariant::of(variant).suits(self.heads.head_dim, self.value_dim)
    }

    fn smaller(&self, most: Extent) -> Option<Box<dyn Kernel>> {
        let mut small = self.clone();
        while most.is_exceeded_by(&small.work(StorageType::F32)) {
            if let Some(heads) = small.heads.halved() {
                small.heads = heads;
            } else if small.q_len.min(small.kv_len) > TRIAL_LEN {
                small.q_len = small.q_len.div_ceil(2);
                small.kv_len = small.kv_len.div_ceil(2);
            } else {
                break;
            }
        }
        if_smaller(small, self)
    }

    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        let (q_len, kv_len) = (halved(self.q_len)?, halved(self.kv_len)?);
        Some(Box::new(Self { q_len, kv_len, ..self.clone() }))
    }

    fn narrower(&self) -> Option<Box<dyn Kernel>> {
        self.heads.halved().map(|heads| Box::new(Self { heads, ..self.clone() }) as Box<dyn Kernel>)
    }

    fn layout(&self, _variant: &str) -> usize {
        0
    }

    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        let Heads { heads, kv_heads, head_dim } = self.heads;
        let variant = PrefillVariant::of(variant);
        let mut plan = Plan::new(self.work(element));
        let bindings = [
            plan.buffer("q", Role::Input, bytes_of(&self.q_dims(), element)),
            plan.buffer("k", Role::Input, bytes_of(&self.k_dims(), element)),
            plan.buffer("v", Role::Input, bytes_of(&self.v_dims(), element)),
            plan.buffer("sinks", Role::Input, heads * 4),
            plan.buffer("out", Role::Output, bytes_of(&self.out_dims(), element)),
        ];
        plan.launch(
            variant
                .launch(element, head_dim, self.value_dim)
                .overrides([("CAUSAL", f64::from(u8::from(self.causal)))])
                .params([
                    ("q_len", word(self.q_len)),
                    ("kv_len", word(self.kv_len)),
                    ("heads", word(heads)),
                    ("kv_heads", word(kv_heads)),
                    ("window", window_word(self.window)),
                    ("scale", scale_bits(head_dim)),
                ])
                .bindings(bindings)
                .grid([word(self.q_len.div_ceil(variant.rows())), word(heads), 1]),
        );
        plan
    }

    fn inputs(&self, _variant: &str, element: StorageType, seed: u64) -> Tensors {
        Tensors::from([
            ("q", normal(&self.q_dims(), element, seed ^ 0xA)),
            ("k", normal(&self.k_dims(), element, seed ^ 0xB)),
            ("v", normal(&self.v_dims(), element, seed ^ 0xC)),
            ("sinks", sink_logits(self.heads.heads, self.sinks, seed ^ 0xE)),
        ])
    }

    fn outputs(&self, _variant: &str, element: StorageType) -> Vec<Output> {
        vec![Output::new("out", &self.out_dims(), &self.out_dims(), element)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: StorageType, effort: u64) -> Verification {
        let cost = self.kv_len * (self.heads.head_dim + self.value_dim);
        let sinks = self.sinks.then(|| &inputs["sinks"]);
        let seen = twin::attention::Seen { window: self.window, sinks };
        let keys = twin::attention::Keys { k: &inputs["k"], v: &inputs["v"], causal: self.causal, seen };
        compare_rows(outputs, self.out_dims(), element, TwinBudget { cost, effort }, |row, head| {
            twin::attention::prefill(&inputs["q"], &keys, row, head)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_keys_of_a_window_are_those_counted_one_by_one() {
        let heads = Heads { heads: 1, kv_heads: 1, head_dim: 4 };
        for (q_len, kv_len) in [(1, 1), (5, 5), (7, 20), (20, 21)] {
            for window in [None, Some(1), Some(4), Some(13), Some(40)] {
                let prefill = Prefill { window, ..Prefill::causal(heads, q_len, kv_len) };
                let (mut pairs, mut first) = (0, kv_len);
                for position in kv_len - q_len..kv_len {
                    let seen = window.map_or(position + 1, |window| window.min(position + 1));
                    pairs += seen;
                    first = first.min(position + 1 - seen);
                }
                assert_eq!(prefill.pairs(), f64::from(word(pairs)), "{prefill:?}");
                assert_eq!(prefill.keys_seen(), kv_len - first, "{prefill:?}");
            }
        }
    }
}
