//! Decode of multi-head latent attention in absorbed form (DeepSeek-V2, arXiv:2405.04434, section 2.1): the projections of
//! keys and values are folded into the query and the output, so that all heads attend to one cached latent.

use std::collections::BTreeMap;

use super::super::{Extent, Family, Kernel, if_smaller, twin};
use super::{
    Bytes, Element, FLOATS, Flop, Output, Parts, Plan, Role, Tensors, Verification, Work, bytes_of, compare_rows,
    halved, named, normal, scale_bits, shrink, splits, word,
};

/// Latent attention of one query a sequence over its cache of `latent_dim + rope_dim` numbers a token; the first
/// `latent_dim` of them are the value as well.
#[derive(Debug, Clone)]
pub struct MlaDecode {
    /// Heads, all over the same latent.
    pub heads: usize,
    /// Rank of the cached latent: a multiple of 4, at most 512.
    pub latent_dim: usize,
    /// Width of the rotary part of a key: a multiple of 4, at most 64.
    pub rope_dim: usize,
    /// Width of an unabsorbed key, whose root scales the scores: 128 + 64 in DeepSeek-V3.
    pub key_dim: usize,
    /// Sequences.
    pub sequences: usize,
    /// Tokens in the cache of each sequence.
    pub kv_len: usize,
}

/// Heads of a workgroup of the tiled variant.
const TILED_HEADS: usize = 16;

impl MlaDecode {
    fn q_dims(&self) -> [usize; 3] {
        [self.sequences, self.heads, self.latent_dim + self.rope_dim]
    }

    fn cache_dims(&self) -> [usize; 3] {
        [self.sequences, self.kv_len, self.latent_dim + self.rope_dim]
    }

    fn out_dims(&self) -> [usize; 3] {
        [self.sequences, self.heads, self.latent_dim]
    }

    fn flop(&self) -> Flop {
        let pairs = (self.sequences * self.heads * self.kv_len) as f64;
        Flop::new(2.0 * pairs * (2 * self.latent_dim + self.rope_dim) as f64)
    }

    fn work(&self, element: Element) -> Work {
        let [q_bytes, cache_bytes, out_bytes] =
            [self.q_dims(), self.cache_dims(), self.out_dims()].map(|dims| bytes_of(&dims, element));
        Work {
            flop: self.flop(),
            bytes_read: Bytes::new((q_bytes + cache_bytes) as f64),
            bytes_written: Bytes::new(out_bytes as f64),
        }
    }

    fn workgroup_heads(variant: &str) -> usize {
        if variant == "subgroup" { super::SUBGROUP_HEADS } else { TILED_HEADS }
    }
}

impl Kernel for MlaDecode {
    fn family(&self) -> Family {
        Family::Attention
    }

    fn name(&self) -> &'static str {
        "mla_decode"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[
            ("heads", self.heads),
            ("latent_dim", self.latent_dim),
            ("rope_dim", self.rope_dim),
            ("sequences", self.sequences),
            ("kv_len", self.kv_len),
        ])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["tiled", "subgroup"]
    }

    fn elements(&self) -> &'static [Element] {
        FLOATS
    }

    fn suits(&self, variant: &str) -> bool {
        // An invocation of the tiled kernel holds every sixteenth vec4.
        variant != "tiled" || self.latent_dim.is_multiple_of(64) && self.rope_dim.is_multiple_of(64)
    }

    fn smaller(&self, most: Extent) -> Option<Box<dyn Kernel>> {
        let mut small = self.clone();
        shrink(&mut small.sequences, &mut small.kv_len, |sequences, kv_len| {
            most.is_exceeded_by(&Self { sequences, kv_len, ..self.clone() }.work(Element::F32))
        });
        if_smaller(small, self)
    }

    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        halved(self.sequences).map(|sequences| Box::new(Self { sequences, ..self.clone() }) as Box<dyn Kernel>)
    }

    fn narrower(&self) -> Option<Box<dyn Kernel>> {
        halved(self.heads).map(|heads| Box::new(Self { heads, ..self.clone() }) as Box<dyn Kernel>)
    }

    fn layout(&self, _variant: &str) -> usize {
        0
    }

    fn plan(&self, variant: &str, element: Element) -> Plan {
        let groups = self.heads.div_ceil(Self::workgroup_heads(variant));
        let splits = splits(1024, self.sequences * groups, self.kv_len);
        let [q_bytes, cache_bytes, out_bytes] =
            [self.q_dims(), self.cache_dims(), self.out_dims()].map(|dims| bytes_of(&dims, element));
        let mut plan = Plan::new(self.work(element));
        let q = plan.buffer("q", Role::Input, q_bytes);
        let cache = plan.buffer("cache", Role::Input, cache_bytes);
        let parts = Parts::new(&mut plan, self.sequences * self.heads, splits, self.latent_dim);
        let out = plan.buffer("out", Role::Output, out_bytes);

        let mut overrides =
            BTreeMap::from([("LATENT_DIM4", (self.latent_dim / 4) as f64), ("ROPE_DIM4", (self.rope_dim / 4) as f64)]);
        let shader = if variant == "subgroup" {
            overrides.insert("WORKGROUP", super::SUBGROUP_HEADS as f64);
            "attention_mla_subgroup"
        } else {
            "attention_mla_tiled"
        };
        let grid = [word(splits), word(groups), word(self.sequences)];
        plan.launch(shader, element, overrides, vec![q, cache, parts.state, parts.out], grid).params = vec![
            ("sequences", word(self.sequences)),
            ("kv_len", word(self.kv_len)),
            ("heads", word(self.heads)),
            ("splits", word(splits)),
            ("scale", scale_bits(self.key_dim)),
        ];
        parts.reduce(&mut plan, element, out, self.out_dims(), splits);
        plan
    }

    fn inputs(&self, _variant: &str, element: Element, seed: u64) -> Tensors {
        Tensors::from([
            ("q", normal(&self.q_dims(), element, seed ^ 0xA)),
            ("cache", normal(&self.cache_dims(), element, seed ^ 0xB)),
        ])
    }

    fn outputs(&self, _variant: &str, element: Element) -> Vec<Output> {
        vec![Output::new("out", &self.out_dims(), &self.out_dims(), element)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: Element, effort: u64) -> Verification {
        let cost = self.kv_len * (2 * self.latent_dim + self.rope_dim);
        compare_rows(outputs, self.out_dims(), cost, element, effort, |sequence, head| {
            twin::attention::mla_decode(&inputs["q"], &inputs["cache"], self.latent_dim, self.key_dim, sequence, head)
        })
    }
}
