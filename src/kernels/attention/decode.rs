//! Attention of one query a sequence over a contiguous cache.

use std::collections::BTreeMap;

use super::super::{Extent, Family, Kernel, if_smaller, twin};
use super::{
    Bytes, Element, FLOATS, Flop, Heads, Output, Parts, Plan, Role, SUBGROUP_HEADS, Tensors, Verification, Work,
    bytes_of, compare_rows, halved, named, normal, scale_bits, shrink, splits, word,
};

/// Attention of one query a sequence over its cache.
#[derive(Debug, Clone)]
pub struct Decode {
    /// Heads.
    pub heads: Heads,
    /// Sequences.
    pub sequences: usize,
    /// Keys of each sequence.
    pub kv_len: usize,
}

/// The most query heads a key that the group variant holds in registers.
const MAX_GROUP: usize = 16;

impl Decode {
    fn q_dims(&self) -> [usize; 3] {
        [self.sequences, self.heads.heads, self.heads.head_dim]
    }

    fn kv_dims(&self) -> [usize; 4] {
        [self.sequences, self.kv_len, self.heads.kv_heads, self.heads.head_dim]
    }

    fn splits(&self, variant: &str) -> usize {
        match variant {
            "group" | "subgroup" => splits(1024, self.sequences * self.heads.kv_heads, self.kv_len),
            _ => splits(4096, self.sequences * self.heads.heads, self.kv_len),
        }
    }
}

/// The least that any decode over `keys` keys in all must do.
pub(super) fn work(heads: &Heads, sequences: usize, keys: usize, element: Element) -> Work {
    let q_bytes = bytes_of(&[sequences, heads.heads, heads.head_dim], element);
    let kv_bytes = bytes_of(&[2, keys, heads.kv_heads, heads.head_dim], element);
    Work {
        flop: Flop::new(4.0 * (keys * heads.heads * heads.head_dim) as f64),
        bytes_read: Bytes::new((q_bytes + kv_bytes) as f64),
        bytes_written: Bytes::new(q_bytes as f64),
    }
}

impl Kernel for Decode {
    fn family(&self) -> Family {
        Family::Attention
    }

    fn name(&self) -> &'static str {
        "decode"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        let mut shape = named(&self.heads.shape());
        shape.extend(named(&[("sequences", self.sequences), ("kv_len", self.kv_len)]));
        shape
    }

    fn variants(&self) -> &'static [&'static str] {
        &["row", "subgroup", "group"]
    }

    fn elements(&self) -> &'static [Element] {
        FLOATS
    }

    fn suits(&self, variant: &str) -> bool {
        variant != "group" || self.heads.group() <= MAX_GROUP
    }

    fn smaller(&self, most: Extent) -> Option<Box<dyn Kernel>> {
        let mut small = self.clone();
        shrink(&mut small.sequences, &mut small.kv_len, |sequences, kv_len| {
            most.is_exceeded_by(&work(&self.heads, sequences, sequences * kv_len, Element::F32))
        });
        if_smaller(small, self)
    }

    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        halved(self.sequences).map(|sequences| Box::new(Self { sequences, ..self.clone() }) as Box<dyn Kernel>)
    }

    fn layout(&self, _variant: &str) -> usize {
        0
    }

    fn plan(&self, variant: &str, element: Element) -> Plan {
        let Heads { heads, kv_heads, head_dim } = self.heads;
        let head_dim4 = self.heads.head_dim4();
        let splits = self.splits(variant);
        let mut plan = Plan::new(work(&self.heads, self.sequences, self.sequences * self.kv_len, element));
        let q = plan.buffer("q", Role::Input, bytes_of(&self.q_dims(), element));
        let k = plan.buffer("k", Role::Input, bytes_of(&self.kv_dims(), element));
        let v = plan.buffer("v", Role::Input, bytes_of(&self.kv_dims(), element));
        let parts = Parts::new(&mut plan, self.sequences * heads, splits, head_dim);
        let out = plan.buffer("out", Role::Output, bytes_of(&self.q_dims(), element));

        let mut overrides = BTreeMap::from([("HEAD_DIM4", head_dim4 as f64)]);
        let (shader, grid) = match variant {
            "group" => {
                overrides.insert("GROUP", self.heads.group() as f64);
                ("attention_decode_group", [word(splits), word(kv_heads), word(self.sequences)])
            }
            "subgroup" => {
                overrides.insert("WORKGROUP", SUBGROUP_HEADS as f64);
                let passes = self.heads.group().div_ceil(SUBGROUP_HEADS);
                ("attention_decode_subgroup", [word(splits), word(kv_heads * passes), word(self.sequences)])
            }
            _ => {
                overrides.insert("WORKGROUP", 8.0);
                ("attention_decode_row", [word(splits.div_ceil(8)), word(heads), word(self.sequences)])
            }
        };
        plan.launch(shader, element, overrides, vec![q, k, v, parts.state, parts.out], grid).params = vec![
            ("sequences", word(self.sequences)),
            ("kv_len", word(self.kv_len)),
            ("heads", word(heads)),
            ("kv_heads", word(kv_heads)),
            ("splits", word(splits)),
            ("scale", scale_bits(head_dim)),
        ];
        parts.reduce(&mut plan, element, out, self.q_dims(), splits);
        plan
    }

    fn inputs(&self, _variant: &str, element: Element, seed: u64) -> Tensors {
        Tensors::from([
            ("q", normal(&self.q_dims(), element, seed ^ 0xA)),
            ("k", normal(&self.kv_dims(), element, seed ^ 0xB)),
            ("v", normal(&self.kv_dims(), element, seed ^ 0xC)),
        ])
    }

    fn outputs(&self, _variant: &str, element: Element) -> Vec<Output> {
        vec![Output::new("out", &self.q_dims(), &self.q_dims(), element)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: Element, effort: u64) -> Verification {
        let cost = 2 * self.kv_len * self.heads.head_dim;
        compare_rows(outputs, self.q_dims(), cost, element, effort, |sequence, head| {
            twin::attention::decode(&inputs["q"], &inputs["k"], &inputs["v"], sequence, head)
        })
    }
}
