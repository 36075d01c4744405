//! Gating after the router's matmul: scoring with top-k, and the sort of token slots by expert.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::compare::{self, Comparison, Metric, Verification, sample};
use super::matmul::tolerance;
use super::routing::{self, Load};
use super::tensor::{Kind, Tensor, Tensors};
use super::{Computed, Element, Family, Kernel, Output, Plan, Role, Work, named, twin, word};
use crate::units::{Bytes, Flop};

/// How a model turns router logits into experts and weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Routed experts.
    pub experts: usize,
    /// Experts a token, at most 8.
    pub top_k: usize,
    /// Sigmoid with a correction bias (DeepSeek-V3) instead of softmax.
    pub sigmoid: bool,
    /// Groups of experts; 1 for no group limit. At most 32.
    pub groups: usize,
    /// Groups that stay in the choice.
    pub kept_groups: usize,
    /// Whether the weights of a token are divided by their sum.
    pub renormalise: bool,
    /// Factor on the weights.
    pub scale: f64,
}

/// What the logits look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    /// Independent normal numbers.
    Random,
    /// Few distinct values, so that most tokens have exact ties: the lower index must win.
    Ties,
    /// All equal.
    Constant,
}

/// Scoring and top-k of `tokens` tokens.
#[derive(Debug, Clone)]
pub struct TopK {
    /// The scoring.
    pub gate: Gate,
    /// Tokens.
    pub tokens: usize,
    /// The logits.
    pub logits: Logits,
}

/// The fewest lanes that the subgroup variant works with.
const SUBGROUP_LANES: usize = 8;
/// Tokens of a workgroup of the subgroup variant.
const SUBGROUP_TOKENS: usize = 8;

/// Differences below this may go either way in f32: choices are sums of numbers around 1.
const TIE: f64 = 1e-6;

impl TopK {
    fn slots(&self) -> usize {
        self.tokens * self.gate.top_k
    }

    fn compare_token(&self, token: usize, inputs: &Tensors, outputs: &Tensors, seen: &mut Seen) {
        let gate = &self.gate;
        let scores = twin::gating::scores(gate, &inputs["logits"], &inputs["bias"], token);
        let got: Vec<usize> =
            (0..gate.top_k).map(|j| outputs["expert_of_slot"].index_at(&[token, j]) as usize).collect();
        let want = twin::gating::chosen(gate, &scores);
        if !self.acceptable(&got, &want, &scores) {
            seen.wrong_sets += 1;
            for (j, (&got, &want)) in got.iter().zip(&want).enumerate() {
                seen.experts.pair(&[token, j], got as f64, want as f64);
            }
            return;
        }
        for (j, &expert) in got.iter().enumerate() {
            let weight = twin::gating::weight(gate, &scores, &got, expert);
            seen.weights.pair(&[token, j], outputs["weight"].at(&[token, j]), weight);
        }
    }

    /// Exactly the twin's experts in the twin's order; or, where f64 and f32 may round differently, a valid set whose
    /// worst choice is within [`TIE`] of the twin's worst.
    fn acceptable(&self, got: &[usize], want: &[usize], scores: &twin::gating::Scores) -> bool {
        if got == want {
            return true;
        }
        let distinct: BTreeSet<usize> = got.iter().copied().collect();
        if distinct.len() != got.len() || got.iter().any(|&e| e >= self.gate.experts) {
            return false;
        }
        if scores.group_margin > 0.0 && scores.group_margin < TIE {
            return true;
        }
        // Equal logits are equal on both sides, so only values that went through exp may round to another order.
        self.gate.sigmoid
            && got.iter().zip(want).all(|(&got, &want)| {
                let difference = (scores.choice[got] - scores.choice[want]).abs();
                got == want || difference > 0.0 && difference < TIE
            })
    }
}

/// What the comparison has found.
struct Seen {
    weights: Comparison,
    experts: Comparison,
    wrong_sets: u64,
}

impl Seen {
    fn nothing() -> Self {
        Self { weights: Comparison::of("weight"), experts: Comparison::of("expert_of_slot"), wrong_sets: 0 }
    }

    fn verification(self, slots: usize) -> Verification {
        let mut verification = self.weights.relative(tolerance(Element::F32), slots);
        verification.metric = Metric::TopkSet;
        if self.wrong_sets > 0 {
            let sets = self.experts.exact(slots);
            verification.checked += sets.checked;
            verification.value = 1.0 + self.wrong_sets as f64;
            verification.worst = sets.worst;
        }
        verification
    }
}

impl Kernel for TopK {
    fn family(&self) -> Family {
        Family::Gating
    }

    fn name(&self) -> &'static str {
        match (self.gate.sigmoid, self.gate.renormalise) {
            (true, _) => "sigmoid_group_topk",
            (false, true) => "softmax_topk_renorm",
            (false, false) => "softmax_topk",
        }
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[
            ("tokens", self.tokens),
            ("experts", self.gate.experts),
            ("top_k", self.gate.top_k),
            ("groups", self.gate.groups),
            ("kept_groups", self.gate.kept_groups),
        ])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["token", "subgroup", "workgroup"]
    }

    fn suits(&self, variant: &str) -> bool {
        // A lane of the subgroup kernel holds 4 neighbouring experts at a time, all of one group, and a group's score.
        let gate = &self.gate;
        variant != "subgroup"
            || (gate.experts / gate.groups).is_multiple_of(4) && gate.groups <= SUBGROUP_LANES && gate.experts <= 512
    }

    fn elements(&self) -> &'static [Element] {
        &[Element::F32]
    }

    fn layout(&self, _variant: &str) -> usize {
        0
    }

    fn plan(&self, variant: &str, element: Element) -> Plan {
        let gate = &self.gate;
        // One comparison an expert for the scan and one exponential; the rest is small beside it.
        let mut plan = Plan::new(Work {
            flop: Flop::new(2.0 * (self.tokens * gate.experts) as f64),
            bytes_read: Bytes::new(4.0 * (self.tokens * gate.experts + gate.experts) as f64),
            bytes_written: Bytes::new(8.0 * self.slots() as f64),
        });
        let bindings = vec![
            plan.buffer("logits", Role::Input, self.tokens * gate.experts * 4),
            plan.buffer("bias", Role::Input, gate.experts * 4),
            plan.buffer("expert_of_slot", Role::Output, self.slots() * 4),
            plan.buffer("weight", Role::Output, self.slots() * 4),
        ];
        let mut overrides = BTreeMap::from([
            ("SCORING", f64::from(u8::from(gate.sigmoid))),
            ("RENORMALISE", f64::from(u8::from(gate.renormalise))),
            ("WORKGROUP", 64.0),
        ]);
        let (shader, workgroups) = match variant {
            "workgroup" => ("gate_workgroup", self.tokens),
            "subgroup" => {
                overrides.insert("VECTORS", gate.experts.div_ceil(4 * SUBGROUP_LANES) as f64);
                ("gate_subgroup", self.tokens.div_ceil(SUBGROUP_TOKENS))
            }
            _ => ("gate_token", self.tokens.div_ceil(64)),
        };
        #[expect(clippy::cast_possible_truncation, reason = "the kernel works in f32")]
        let scale = (gate.scale as f32).to_bits();
        plan.launch(shader, element, overrides, bindings, [word(workgroups), 1, 1]).params = vec![
            ("tokens", word(self.tokens)),
            ("experts", word(gate.experts)),
            ("top_k", word(gate.top_k)),
            ("groups", word(gate.groups)),
            ("kept_groups", word(gate.kept_groups)),
            ("scale", scale),
        ];
        plan
    }

    fn inputs(&self, _variant: &str, _element: Element, seed: u64) -> Tensors {
        let dims = [self.tokens, self.gate.experts];
        let random = Tensor::random(&dims, &dims, Element::F32, 1.5, seed ^ 0xA);
        let logits = match self.logits {
            Logits::Random => random,
            Logits::Ties => {
                let values: Vec<f32> = (0..dims[0])
                    .flat_map(|t| (0..dims[1]).map(move |e| (t, e)))
                    .map(|(t, e)| if random.at(&[t, e]) > 0.0 { 0.75 } else { -0.5 })
                    .collect();
                Tensor::floats(&dims, &values)
            }
            Logits::Constant => Tensor::floats(&dims, &vec![0.25; dims[0] * dims[1]]),
        };
        let bias = match self.logits {
            Logits::Random => Tensor::random(&dims[1..], &dims[1..], Element::F32, 0.1, seed ^ 0xB),
            _ => Tensor::floats(&dims[1..], &vec![0.125; dims[1]]),
        };
        Tensors::from([("logits", logits), ("bias", bias)])
    }

    fn outputs(&self, _variant: &str, _element: Element) -> Vec<Output> {
        let dims = [self.tokens, self.gate.top_k];
        vec![
            Output::new("expert_of_slot", &dims, &dims, Kind::Index),
            Output::new("weight", &dims, &dims, Element::F32),
        ]
    }

    fn tokens_per_expert(&self, outputs: &Tensors) -> Option<Vec<u32>> {
        routing::counts(&outputs["expert_of_slot"], self.gate.experts)
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, _element: Element, effort: u64) -> Verification {
        let mut seen = Seen::nothing();
        for token in sample(self.tokens, self.gate.experts * 16, effort) {
            self.compare_token(token, inputs, outputs, &mut seen);
        }
        seen.verification(self.slots())
    }

    /// Where two variants choose other experts for a token, the twin says whether both choices are right.
    fn agreement(&self, ours: Computed, theirs: Computed, element: Element) -> Verification {
        let chosen = |of: &Computed, token| of.outputs["expert_of_slot"].row(token);
        let differ = |token: &usize| chosen(&ours, *token) != chosen(&theirs, *token);
        let disputed: Vec<usize> = (0..self.tokens).into_par_iter().filter(differ).collect();
        let mut seen = Seen::nothing();
        for &token in &disputed {
            self.compare_token(token, ours.inputs, ours.outputs, &mut seen);
            self.compare_token(token, theirs.inputs, theirs.outputs, &mut seen);
        }
        let disputed: BTreeSet<usize> = disputed.into_iter().collect();
        let agreed: Vec<usize> = (0..self.tokens).filter(|token| !disputed.contains(token)).collect();
        let (our_weight, their_weight) = (&ours.outputs["weight"], &theirs.outputs["weight"]);
        let weights = compare::whole("weight", our_weight.kind(), element, agreed.len(), |index| {
            let token = agreed[index];
            (vec![token], our_weight.row(token), their_weight.row(token))
        });
        compare::worst_of(vec![weights, seen.verification(self.slots())])
    }
}

/// The sort of `tokens * top_k` slots by expert, padded to `row_tile`.
#[derive(Debug, Clone)]
pub struct Sort {
    /// Tokens.
    pub tokens: usize,
    /// Slots a token.
    pub top_k: usize,
    /// Experts, at most 512.
    pub experts: usize,
    /// Rows that must not mix experts.
    pub row_tile: usize,
    /// How the slots spread.
    pub load: Load,
}

/// Slots of one workgroup.
const CHUNK: usize = 256;

impl Sort {
    fn slots(&self) -> usize {
        self.tokens * self.top_k
    }

    fn row_blocks(&self) -> usize {
        routing::most_row_blocks(self.slots(), self.experts, self.row_tile)
    }
}

impl Kernel for Sort {
    fn family(&self) -> Family {
        Family::Gating
    }

    fn name(&self) -> &'static str {
        "sort"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[("tokens", self.tokens), ("top_k", self.top_k), ("experts", self.experts), ("row_tile", self.row_tile)])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["counting"]
    }

    fn elements(&self) -> &'static [Element] {
        &[Element::F32]
    }

    fn plan(&self, _variant: &str, element: Element) -> Plan {
        let (slots, row_blocks) = (self.slots(), self.row_blocks());
        let rows = row_blocks * self.row_tile;
        let chunks = slots.div_ceil(CHUNK);
        // Integer work only: it has no arithmetic roof.
        let mut plan = Plan::new(Work {
            flop: Flop::ZERO,
            bytes_read: Bytes::new(4.0 * slots as f64),
            bytes_written: Bytes::new(4.0 * (rows + slots + row_blocks + self.experts) as f64),
        });
        let expert_of_slot = plan.buffer("expert_of_slot", Role::Input, slots * 4);
        let chunk_count = plan.buffer("chunk_count", Role::Scratch, chunks * self.experts * 4);
        let expert_rows = plan.buffer("expert_rows", Role::Output, self.experts * 4);
        let block_expert = plan.buffer("block_expert", Role::Output, row_blocks * 4);
        let slot_of_row = plan.buffer("slot_of_row", Role::Output, rows * 4);
        let row_of_slot = plan.buffer("row_of_slot", Role::Output, slots * 4);

        let chunked = BTreeMap::from([("WORKGROUP", CHUNK as f64)]);
        let sizes = vec![("slots", word(slots)), ("experts", word(self.experts))];
        let grid = [word(chunks), 1, 1];
        plan.launch("sort_count", element, chunked.clone(), vec![expert_of_slot, chunk_count], grid).params =
            sizes.clone();
        let scanned = vec![chunk_count, expert_rows, block_expert, slot_of_row];
        plan.launch("sort_scan", element, BTreeMap::from([("WORKGROUP", 256.0)]), scanned, [1, 1, 1]).params = vec![
            ("experts", word(self.experts)),
            ("chunks", word(chunks)),
            ("row_tile", word(self.row_tile)),
            ("row_blocks", word(row_blocks)),
        ];
        let scattered = vec![expert_of_slot, chunk_count, slot_of_row, row_of_slot];
        plan.launch("sort_scatter", element, chunked, scattered, grid).params = sizes;
        plan
    }

    fn inputs(&self, _variant: &str, _element: Element, seed: u64) -> Tensors {
        let slots = routing::experts_of_slots(self.tokens, self.top_k, self.experts, self.load, seed);
        Tensors::from([("expert_of_slot", Tensor::indices(&slots))])
    }

    fn outputs(&self, _variant: &str, _element: Element) -> Vec<Output> {
        let flat = |name, length: usize| Output::new(name, &[length], &[length], Kind::Index);
        vec![
            flat("expert_rows", self.experts),
            flat("block_expert", self.row_blocks()),
            flat("slot_of_row", self.row_blocks() * self.row_tile),
            flat("row_of_slot", self.slots()),
        ]
    }

    fn tokens_per_expert(&self, outputs: &Tensors) -> Option<Vec<u32>> {
        Some((0..self.experts).map(|expert| outputs["expert_rows"].index_at(&[expert])).collect())
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, _element: Element, _effort: u64) -> Verification {
        let slots: Vec<usize> =
            (0..self.slots()).map(|slot| inputs["expert_of_slot"].index_at(&[slot]) as usize).collect();
        let want = twin::gating::sort(&slots, self.experts, self.row_tile);
        let none = routing::NONE as usize;
        let expected: [(&'static str, Vec<usize>); 4] = [
            ("expert_rows", want.expert_rows),
            ("block_expert", padded(want.block_expert, self.row_blocks(), none)),
            (
                "slot_of_row",
                padded(
                    want.slot_of_row.into_iter().map(|slot| slot.unwrap_or(none)).collect(),
                    self.row_blocks() * self.row_tile,
                    none,
                ),
            ),
            ("row_of_slot", want.row_of_slot),
        ];
        let mut all: Option<Verification> = None;
        for (name, want) in expected {
            let mut comparison = Comparison::of(name);
            for (at, &value) in want.iter().enumerate() {
                comparison.pair(&[at], f64::from(outputs[name].index_at(&[at])), value as f64);
            }
            let one = comparison.exact(want.len());
            all = Some(match all {
                None => one,
                Some(before) => merge(before, one),
            });
        }
        all.unwrap_or_else(|| Comparison::of("slot_of_row").exact(0))
    }
}

fn padded(mut values: Vec<usize>, length: usize, none: usize) -> Vec<usize> {
    values.resize(length, none);
    values
}

/// Both outputs as one: the worse of the two speaks.
fn merge(a: Verification, b: Verification) -> Verification {
    let (checked, total) = (a.checked + b.checked, a.total + b.total);
    let worse = if b.value > a.value { b } else { a };
    Verification { checked, total, ..worse }
}
