//! Attention: causal prefill with online softmax, and decode with the cache split over workgroups and a reduce pass.

use std::collections::BTreeMap;

use super::compare::{Comparison, Verification, sample};
use super::matmul::tolerance;
use super::tensor::{Tensor, Tensors};
use super::{Element, Family, Kernel, Output, Plan, Role, Work, named, twin, word};
use crate::units::{Bytes, Flop};

/// Heads of grouped-query attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Size of a head: a multiple of 4, at most 128.
    pub head_dim: usize,
}

/// Causal attention of the last `q_len` positions over `kv_len` keys.
#[derive(Debug, Clone)]
pub struct Prefill {
    /// Heads.
    pub heads: Heads,
    /// Queries.
    pub q_len: usize,
    /// Keys, at least `q_len`; more where the prompt comes in chunks.
    pub kv_len: usize,
}

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

impl Heads {
    /// Query heads that share a key.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    fn head_dim4(&self) -> usize {
        self.head_dim / 4
    }

    /// `1 / sqrt(head_dim)` as the bits of an f32.
    fn scale_bits(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "the kernel works in f32")]
        let scale = (1.0 / (self.head_dim as f64).sqrt()) as f32;
        scale.to_bits()
    }

    fn shape(&self) -> [(&'static str, usize); 3] {
        [("heads", self.heads), ("kv_heads", self.kv_heads), ("head_dim", self.head_dim)]
    }
}

fn size_of(element: Element) -> usize {
    usize::try_from(element.size_bytes()).unwrap_or(4)
}

impl Prefill {
    /// Pairs of query and visible key.
    fn pairs(&self) -> f64 {
        let (q, past) = (self.q_len as f64, (self.kv_len - self.q_len) as f64);
        q * past + q * (q + 1.0) / 2.0
    }

    fn q_dims(&self) -> [usize; 3] {
        [self.q_len, self.heads.heads, self.heads.head_dim]
    }

    fn kv_dims(&self) -> [usize; 3] {
        [self.kv_len, self.heads.kv_heads, self.heads.head_dim]
    }
}

impl Kernel for Prefill {
    fn family(&self) -> Family {
        Family::Attention
    }

    fn name(&self) -> &'static str {
        "prefill"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        let mut shape = named(&self.heads.shape());
        shape.extend(named(&[("q_len", self.q_len), ("kv_len", self.kv_len)]));
        shape
    }

    fn variants(&self) -> &'static [&'static str] {
        &["row", "subgroup", "tiled"]
    }

    fn elements(&self) -> &'static [Element] {
        &[Element::F32, Element::F16]
    }

    fn suits(&self, variant: &str) -> bool {
        // A lane of the tiled kernel holds every eighth vec4 of the head.
        variant != "tiled" || self.heads.head_dim4().is_multiple_of(8)
    }

    fn plan(&self, variant: &str, element: Element) -> Plan {
        let size = size_of(element);
        let q_bytes = self.q_dims().iter().product::<usize>() * size;
        let kv_bytes = self.kv_dims().iter().product::<usize>() * size;
        // Only visible pairs count: 2 head_dim for the score and as many for the weighted sum.
        let mut plan = Plan::new(Work {
            flop: Flop::new(4.0 * self.pairs() * (self.heads.heads * self.heads.head_dim) as f64),
            bytes_read: Bytes::new((q_bytes + 2 * kv_bytes) as f64),
            bytes_written: Bytes::new(q_bytes as f64),
        });
        let bindings = vec![
            plan.buffer("q", Role::Input, q_bytes),
            plan.buffer("k", Role::Input, kv_bytes),
            plan.buffer("v", Role::Input, kv_bytes),
            plan.buffer("out", Role::Output, q_bytes),
        ];
        let mut overrides = BTreeMap::from([("HEAD_DIM4", self.heads.head_dim4() as f64)]);
        let (shader, rows) = match variant {
            "tiled" => ("attention_prefill_tiled", 32),
            "subgroup" => {
                overrides.insert("WORKGROUP", 32.0);
                ("attention_prefill_subgroup", 32)
            }
            _ => {
                overrides.insert("WORKGROUP", 32.0);
                ("attention_prefill_row", 32)
            }
        };
        let grid = [word(self.q_len.div_ceil(rows)), word(self.heads.heads), 1];
        plan.launch(shader, element, overrides, bindings, grid).params = vec![
            ("q_len", word(self.q_len)),
            ("kv_len", word(self.kv_len)),
            ("heads", word(self.heads.heads)),
            ("kv_heads", word(self.heads.kv_heads)),
            ("scale", self.heads.scale_bits()),
        ];
        plan
    }

    fn inputs(&self, _variant: &str, element: Element, seed: u64) -> Tensors {
        let tensor = |dims: [usize; 3], salt| Tensor::random(&dims, &dims, element, 1.0, seed ^ salt);
        Tensors::from([
            ("q", tensor(self.q_dims(), 0xA)),
            ("k", tensor(self.kv_dims(), 0xB)),
            ("v", tensor(self.kv_dims(), 0xC)),
        ])
    }

    fn outputs(&self, _variant: &str, element: Element) -> Vec<Output> {
        vec![Output::new("out", &self.q_dims(), &self.q_dims(), element)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: Element, effort: u64) -> Verification {
        let Heads { heads, head_dim, .. } = self.heads;
        let mut comparison = Comparison::of("out");
        for item in sample(self.q_len * heads, 2 * self.kv_len * head_dim, effort) {
            let (row, head) = (item / heads, item % heads);
            let want = twin::attention::prefill(&inputs["q"], &inputs["k"], &inputs["v"], row, head);
            for (d, want) in want.into_iter().enumerate() {
                comparison.pair(&[row, head, d], outputs["out"].at(&[row, head, d]), want);
            }
        }
        comparison.relative(tolerance(element), self.q_len * heads * head_dim)
    }
}

impl Decode {
    fn q_dims(&self) -> [usize; 3] {
        [self.sequences, self.heads.heads, self.heads.head_dim]
    }

    fn kv_dims(&self) -> [usize; 4] {
        [self.sequences, self.kv_len, self.heads.kv_heads, self.heads.head_dim]
    }

    /// Parts of the cache: enough to occupy a large device, none shorter than 64 keys.
    fn splits(&self, variant: &str) -> usize {
        let (units, wanted) = match variant {
            "group" | "subgroup" => (self.sequences * self.heads.kv_heads, 1024),
            _ => (self.sequences * self.heads.heads, 4096),
        };
        wanted_parts(wanted, units).clamp(1, self.kv_len.div_ceil(64))
    }
}

fn wanted_parts(wanted: usize, units: usize) -> usize {
    wanted.div_ceil(units.max(1))
}

/// Query heads that one workgroup of the subgroup variant carries.
const SUBGROUP_HEADS: usize = 8;
/// The most query heads a key that the group variant holds in registers.
const MAX_GROUP: usize = 16;

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
        &[Element::F32, Element::F16]
    }

    fn suits(&self, variant: &str) -> bool {
        variant != "group" || self.heads.group() <= MAX_GROUP
    }

    fn plan(&self, variant: &str, element: Element) -> Plan {
        let size = size_of(element);
        let Heads { heads, kv_heads, .. } = self.heads;
        let head_dim4 = self.heads.head_dim4();
        let q_bytes = self.q_dims().iter().product::<usize>() * size;
        let kv_bytes = self.kv_dims().iter().product::<usize>() * size;
        let splits = self.splits(variant);
        let parts = self.sequences * heads * splits;
        let mut plan = Plan::new(Work {
            flop: Flop::new(4.0 * (self.sequences * self.kv_len * heads * self.heads.head_dim) as f64),
            bytes_read: Bytes::new((q_bytes + 2 * kv_bytes) as f64),
            bytes_written: Bytes::new(q_bytes as f64),
        });
        let q = plan.buffer("q", Role::Input, q_bytes);
        let k = plan.buffer("k", Role::Input, kv_bytes);
        let v = plan.buffer("v", Role::Input, kv_bytes);
        let part_state = plan.buffer("part_state", Role::Scratch, parts * 8);
        let part_out = plan.buffer("part_out", Role::Scratch, parts * head_dim4 * 16);
        let out = plan.buffer("out", Role::Output, q_bytes);

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
        plan.launch(shader, element, overrides, vec![q, k, v, part_state, part_out], grid).params = vec![
            ("sequences", word(self.sequences)),
            ("kv_len", word(self.kv_len)),
            ("heads", word(heads)),
            ("kv_heads", word(kv_heads)),
            ("splits", word(splits)),
            ("scale", self.heads.scale_bits()),
        ];
        let grid = [word(head_dim4.div_ceil(32)), word(heads), word(self.sequences)];
        let overrides = BTreeMap::from([("WORKGROUP", 32.0)]);
        plan.launch("attention_reduce", element, overrides, vec![part_state, part_out, out], grid).params =
            vec![("head_dim4", word(head_dim4)), ("heads", word(heads)), ("splits", word(splits))];
        plan
    }

    fn inputs(&self, _variant: &str, element: Element, seed: u64) -> Tensors {
        let kv = |salt| Tensor::random(&self.kv_dims(), &self.kv_dims(), element, 1.0, seed ^ salt);
        Tensors::from([
            ("q", Tensor::random(&self.q_dims(), &self.q_dims(), element, 1.0, seed ^ 0xA)),
            ("k", kv(0xB)),
            ("v", kv(0xC)),
        ])
    }

    fn outputs(&self, _variant: &str, element: Element) -> Vec<Output> {
        vec![Output::new("out", &self.q_dims(), &self.q_dims(), element)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: Element, effort: u64) -> Verification {
        let Heads { heads, head_dim, .. } = self.heads;
        let mut comparison = Comparison::of("out");
        for item in sample(self.sequences * heads, 2 * self.kv_len * head_dim, effort) {
            let (sequence, head) = (item / heads, item % heads);
            let want = twin::attention::decode(&inputs["q"], &inputs["k"], &inputs["v"], sequence, head);
            for (d, want) in want.into_iter().enumerate() {
                comparison.pair(&[sequence, head, d], outputs["out"].at(&[sequence, head, d]), want);
            }
        }
        comparison.relative(tolerance(element), self.sequences * heads * head_dim)
    }
}
