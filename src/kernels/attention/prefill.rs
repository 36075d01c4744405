//! Attention of many queries at once, causal or not; values may be narrower than keys, as in DeepSeek-V3's prefill.

use std::collections::BTreeMap;

use super::super::tensor::Tensor;
use super::super::{Extent, Family, Kernel, if_smaller, twin};
use super::{
    Bytes, Element, FLOATS, Flop, Heads, Output, Plan, Role, TRIAL_LEN, Tensors, Verification, Work, bytes_of,
    compare_rows, halved, named, scale_bits, word,
};

/// Attention of `q_len` queries over `kv_len` keys.
#[derive(Debug, Clone)]
pub struct Prefill {
    /// Heads; `head_dim` is that of queries and keys, at most 192.
    pub heads: Heads,
    /// Size of a value: a multiple of 4, at most 128 and at most `head_dim`.
    pub value_dim: usize,
    /// Queries.
    pub q_len: usize,
    /// Keys; under `causal` at least `q_len`, and more where the prompt comes in chunks.
    pub kv_len: usize,
    /// Whether a query sees only the keys up to its own position, the last query standing at the last key.
    pub causal: bool,
}

/// Queries of a workgroup, but where the variant's name says otherwise.
const ROWS: usize = 32;

/// Keys that the cooperative-matrix variants take at a time.
const MATRIX_KEYS: usize = 64;

/// Lanes of a workgroup and queries of a lane. Several queries share the broadcast of a key; few lanes see fewer keys for
/// nothing where the adapter's subgroups are as narrow, and many queries want more registers than a GPU has.
fn queries_of(variant: &str) -> (usize, usize) {
    match variant {
        "subgroup_32x2" => (32, 2),
        "subgroup_8x4" => (8, 4),
        _ => (ROWS, 1),
    }
}

/// A variant on cooperative matrices, square and of one size: f16 operands, f32 sums.
///
/// The 8 x 8 shader was compared with the twin on Mesa 26.2's software adapter, which multiplies that size; the 16 x 16 one
/// differs from it in the size alone (a test holds them together) and has not run on any device yet. No GPU was at hand,
/// so nothing is known of their speed.
struct Matrix {
    shader: &'static str,
    size: usize,
}

impl Matrix {
    fn of(variant: &str) -> Option<Self> {
        match variant {
            "matrix_16" => Some(Self { shader: "attention_prefill_matrix_16", size: 16 }),
            "matrix_8" => Some(Self { shader: "attention_prefill_matrix_8", size: 8 }),
            _ => None,
        }
    }
}

impl Prefill {
    /// Causal attention with keys and values of one size.
    pub fn causal(heads: Heads, q_len: usize, kv_len: usize) -> Self {
        Self { heads, value_dim: heads.head_dim, q_len, kv_len, causal: true }
    }

    /// Pairs of query and visible key.
    fn pairs(&self) -> f64 {
        let (q, kv) = (self.q_len as f64, self.kv_len as f64);
        if self.causal { q * (kv - q) + q * (q + 1.0) / 2.0 } else { q * kv }
    }

    /// Only visible pairs count: 2 head_dim for the score and 2 value_dim for the weighted sum.
    fn flop(&self) -> Flop {
        let Heads { heads, head_dim, .. } = self.heads;
        Flop::new(2.0 * self.pairs() * (heads * (head_dim + self.value_dim)) as f64)
    }

    fn work(&self, element: Element) -> Work {
        let [q_bytes, k_bytes, v_bytes, out_bytes] =
            [self.q_dims(), self.k_dims(), self.v_dims(), self.out_dims()].map(|dims| bytes_of(&dims, element));
        Work {
            flop: self.flop(),
            bytes_read: Bytes::new((q_bytes + k_bytes + v_bytes) as f64),
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

    /// Dimensions in memory of something whose rows come in blocks of `rows`: whole blocks for cooperative matrices, which
    /// cannot be loaded in part.
    fn in_memory(variant: &str, dims: [usize; 3], rows: usize) -> [usize; 3] {
        let [length, heads, dim] = dims;
        if Matrix::of(variant).is_some() { [length.next_multiple_of(rows), heads, dim] } else { dims }
    }

    fn out_dims(&self) -> [usize; 3] {
        [self.q_len, self.heads.heads, self.value_dim]
    }
}

impl Kernel for Prefill {
    fn family(&self) -> Family {
        Family::Attention
    }

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
        shape
    }

    fn variants(&self) -> &'static [&'static str] {
        &["row", "subgroup", "subgroup_32x2", "subgroup_8x4", "tiled", "matrix_16", "matrix_8"]
    }

    fn elements(&self) -> &'static [Element] {
        FLOATS
    }

    fn variant_elements(&self, variant: &str) -> &'static [Element] {
        if Matrix::of(variant).is_some() { &[Element::F16] } else { FLOATS }
    }

    fn suits(&self, variant: &str) -> bool {
        // A lane of the tiled kernel holds every eighth vec4 of the output.
        match Matrix::of(variant) {
            Some(matrix) => [self.heads.head_dim, self.value_dim].iter().all(|dim| dim.is_multiple_of(matrix.size)),
            None => variant != "tiled" || self.value_dim.is_multiple_of(32),
        }
    }

    fn smaller(&self, most: Extent) -> Option<Box<dyn Kernel>> {
        let mut small = self.clone();
        while most.is_exceeded_by(&small.work(Element::F32)) {
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

    /// Cooperative matrices want whole blocks of rows.
    fn layout(&self, variant: &str) -> usize {
        usize::from(Matrix::of(variant).is_some())
    }

    fn plan(&self, variant: &str, element: Element) -> Plan {
        let Heads { heads, kv_heads, head_dim } = self.heads;
        let mut plan = Plan::new(self.work(element));
        let padded = |plan: &mut Plan, name, dims, rows| {
            let stored = bytes_of(&Self::in_memory(variant, dims, rows), element);
            plan.padded_buffer(name, Role::Input, bytes_of(&dims, element), stored)
        };
        let bindings = vec![
            padded(&mut plan, "q", self.q_dims(), ROWS),
            padded(&mut plan, "k", self.k_dims(), MATRIX_KEYS),
            padded(&mut plan, "v", self.v_dims(), MATRIX_KEYS),
            plan.buffer("out", Role::Output, bytes_of(&self.out_dims(), element)),
        ];
        let mut overrides = BTreeMap::from([("CAUSAL", f64::from(u8::from(self.causal)))]);
        let shader = match (Matrix::of(variant), variant) {
            (Some(matrix), _) => matrix.shader,
            (None, "tiled") => "attention_prefill_tiled",
            (None, "row") => "attention_prefill_row",
            (None, _) => "attention_prefill_subgroup",
        };
        if Matrix::of(variant).is_some() {
            overrides.extend([("HEAD_DIM", head_dim as f64), ("VALUE_DIM", self.value_dim as f64)]);
        } else {
            overrides.extend([("HEAD_DIM4", (head_dim / 4) as f64), ("VALUE_DIM4", (self.value_dim / 4) as f64)]);
        }
        let (lanes, queries) = queries_of(variant);
        if variant != "tiled" && Matrix::of(variant).is_none() {
            overrides.insert("WORKGROUP", lanes as f64);
        }
        // The matrix shaders are written for f16 as they stand.
        let element = if Matrix::of(variant).is_some() { Element::F32 } else { element };
        let grid = [word(self.q_len.div_ceil(lanes * queries)), word(heads), 1];
        let launch = plan.launch(shader, element, overrides, bindings, grid);
        if shader == "attention_prefill_subgroup" {
            launch.constants.insert("ROWS", word(queries));
        }
        launch.params = vec![
            ("q_len", word(self.q_len)),
            ("kv_len", word(self.kv_len)),
            ("heads", word(heads)),
            ("kv_heads", word(kv_heads)),
            ("scale", scale_bits(head_dim)),
        ];
        plan
    }

    fn inputs(&self, variant: &str, element: Element, seed: u64) -> Tensors {
        let tensor = |dims: [usize; 3], rows, salt| {
            Tensor::random(&dims, &Self::in_memory(variant, dims, rows), element, 1.0, seed ^ salt)
        };
        Tensors::from([
            ("q", tensor(self.q_dims(), ROWS, 0xA)),
            ("k", tensor(self.k_dims(), MATRIX_KEYS, 0xB)),
            ("v", tensor(self.v_dims(), MATRIX_KEYS, 0xC)),
        ])
    }

    fn outputs(&self, _variant: &str, element: Element) -> Vec<Output> {
        vec![Output::new("out", &self.out_dims(), &self.out_dims(), element)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: Element, effort: u64) -> Verification {
        let cost = self.kv_len * (self.heads.head_dim + self.value_dim);
        compare_rows(outputs, self.out_dims(), cost, element, effort, |row, head| {
            twin::attention::prefill(&inputs["q"], &inputs["k"], &inputs["v"], row, head, self.causal)
        })
    }
}
