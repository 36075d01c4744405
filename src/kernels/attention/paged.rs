//! Attention of one query a sequence over a cache in blocks, found through a block table, as vLLM keeps it (Kwon et al.,
//! arXiv:2309.06180).

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::super::tensor::Tensor;
use super::super::{Extent, Family, Kernel, if_smaller, twin};
use super::decode::work;
use super::{
    Element, FLOATS, Heads, Output, Parts, Plan, Role, SUBGROUP_HEADS, Tensors, Verification, bytes_of, compare_rows,
    halved, named, normal, scale_bits, shrink, splits, word,
};

/// Attention of one query a sequence over its blocks, which lie scattered over the pool.
#[derive(Debug, Clone)]
pub struct PagedDecode {
    /// Heads.
    pub heads: Heads,
    /// Sequences.
    pub sequences: usize,
    /// Keys of each sequence.
    pub kv_len: usize,
    /// Keys of a block.
    pub block: usize,
}

impl PagedDecode {
    fn q_dims(&self) -> [usize; 3] {
        [self.sequences, self.heads.heads, self.heads.head_dim]
    }

    /// Blocks of one sequence; the last may be partly filled.
    fn table_width(&self) -> usize {
        self.kv_len.div_ceil(self.block)
    }

    /// The pool holds what the sequences use and as many blocks again for every eighth, which nobody owns.
    fn pool_blocks(&self) -> usize {
        let used = self.sequences * self.table_width();
        used + used.div_ceil(8)
    }

    fn pool_dims(&self) -> [usize; 3] {
        [self.pool_blocks() * self.block, self.heads.kv_heads, self.heads.head_dim]
    }

    fn splits(&self, variant: &str) -> usize {
        match variant {
            "subgroup" => splits(1024, self.sequences * self.heads.kv_heads, self.kv_len),
            _ => splits(4096, self.sequences * self.heads.heads, self.kv_len),
        }
    }

    /// A random choice of blocks of the pool, [sequences, table_width]; no block twice.
    fn block_table(&self, seed: u64) -> Vec<u32> {
        let mut blocks: Vec<u32> = (0..word(self.pool_blocks())).collect();
        blocks.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        blocks.truncate(self.sequences * self.table_width());
        blocks
    }
}

impl Kernel for PagedDecode {
    fn family(&self) -> Family {
        Family::Attention
    }

    fn name(&self) -> &'static str {
        "decode_paged"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        let mut shape = named(&self.heads.shape());
        shape.extend(named(&[("sequences", self.sequences), ("kv_len", self.kv_len), ("block", self.block)]));
        shape
    }

    fn variants(&self) -> &'static [&'static str] {
        &["row", "subgroup"]
    }

    fn elements(&self) -> &'static [Element] {
        FLOATS
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
        let splits = self.splits(variant);
        let mut plan = Plan::new(work(&self.heads, self.sequences, self.sequences * self.kv_len, element));
        let pool_bytes = bytes_of(&self.pool_dims(), element);
        let q = plan.buffer("q", Role::Input, bytes_of(&self.q_dims(), element));
        let k = plan.buffer("k", Role::Input, pool_bytes);
        let v = plan.buffer("v", Role::Input, pool_bytes);
        let block_table = plan.buffer("block_table", Role::Input, self.sequences * self.table_width() * 4);
        let parts = Parts::new(&mut plan, self.sequences * heads, splits, head_dim);
        let out = plan.buffer("out", Role::Output, bytes_of(&self.q_dims(), element));

        let overrides = BTreeMap::from([
            ("HEAD_DIM4", self.heads.head_dim4() as f64),
            ("BLOCK", self.block as f64),
            ("WORKGROUP", SUBGROUP_HEADS as f64),
        ]);
        let (shader, grid) = if variant == "subgroup" {
            let passes = self.heads.group().div_ceil(SUBGROUP_HEADS);
            ("attention_paged_subgroup", [word(splits), word(kv_heads * passes), word(self.sequences)])
        } else {
            ("attention_paged_row", [word(splits.div_ceil(8)), word(heads), word(self.sequences)])
        };
        plan.launch(shader, element, overrides, vec![q, k, v, block_table, parts.state, parts.out], grid).params = vec![
            ("sequences", word(self.sequences)),
            ("kv_len", word(self.kv_len)),
            ("heads", word(heads)),
            ("kv_heads", word(kv_heads)),
            ("splits", word(splits)),
            ("table_width", word(self.table_width())),
            ("scale", scale_bits(head_dim)),
        ];
        parts.reduce(&mut plan, element, out, self.q_dims(), splits);
        plan
    }

    fn inputs(&self, _variant: &str, element: Element, seed: u64) -> Tensors {
        Tensors::from([
            ("q", normal(&self.q_dims(), element, seed ^ 0xA)),
            ("k", normal(&self.pool_dims(), element, seed ^ 0xB)),
            ("v", normal(&self.pool_dims(), element, seed ^ 0xC)),
            ("block_table", Tensor::indices(&self.block_table(seed ^ 0xD))),
        ])
    }

    fn outputs(&self, _variant: &str, element: Element) -> Vec<Output> {
        vec![Output::new("out", &self.q_dims(), &self.q_dims(), element)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: Element, effort: u64) -> Verification {
        let cost = 2 * self.kv_len * self.heads.head_dim;
        compare_rows(outputs, self.q_dims(), cost, element, effort, |sequence, head| {
            let cache = twin::attention::Pages {
                k: &inputs["k"],
                v: &inputs["v"],
                block_table: &inputs["block_table"],
                block: self.block,
            };
            twin::attention::decode_paged(&inputs["q"], &cache, self.kv_len, sequence, head)
        })
    }
}
