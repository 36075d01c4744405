//! Scoring with top-k: from router logits to experts and weights.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use crate::kernels::gate::Gate;
use crate::kernels::gating::judge::{LogitsOf, TopkCheck, judge_topk};
use crate::kernels::kernel::Kernel;
use crate::kernels::plan::{Launch, Need, Output, Plan, Role};
use crate::kernels::routing;
use crate::kernels::tensor::{Random, Tensor, TensorType, Tensors};
use crate::kernels::twin;
use crate::kernels::types::{StorageType, Work, named, word};
use crate::kernels::verification::{self, Computed, Deviation, Metric, Verification, sample, tolerance, worst_of};
use crate::specs::Scoring;
use crate::units::{Bytes, Flop};

/// The distribution of the logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    /// Independent normal numbers.
    Random,
    /// Two distinct values, so that most tokens have exact ties: the lower index must win.
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

/// The subgroup variants, with the lanes that the registers of each are sized for. Wider subgroups leave lanes idle.
const SUBGROUP_VARIANTS: [(&str, usize); 2] = [("subgroup", 8), ("subgroup_32", 32)];
/// The fewest lanes that any kernel with subgroups runs in.
const LEAST_LANES: usize = 8;
/// The most vec4 of scores that a lane of a subgroup variant holds.
const MOST_VECTORS: usize = 16;
/// Tokens per workgroup of the subgroup variants.
const SUBGROUP_TOKENS: usize = 8;
/// Invocations per workgroup.
const WORKGROUP: usize = 64;

/// The experts of a token on the lanes of a subgroup.
struct OnLanes {
    /// Neighbouring experts per lane, in fours.
    vectors: usize,
    /// Lanes that share a group of experts; 1 without a limit of groups.
    group_lanes: usize,
    /// The fewest lanes that hold all experts, and one slot each.
    least_lanes: usize,
}

impl OnLanes {
    /// Sized for subgroups of `lanes`; `None` if they do not hold this gate. A lane has experts of one group only.
    fn of(gate: &Gate, lanes: usize) -> Option<Self> {
        let group = gate.experts / gate.groups;
        if !group.is_multiple_of(4) || gate.groups > lanes || gate.top_k > lanes {
            return None;
        }
        let experts4 = gate.experts / 4;
        let (vectors, group_lanes) = if gate.kept_groups < gate.groups {
            let shares = |lanes_of_one: &usize| (group / 4).is_multiple_of(*lanes_of_one);
            let group_lanes = (0..).map(|power| 1 << power).take_while(|most| most * gate.groups <= lanes);
            let group_lanes = group_lanes.filter(shares).last()?;
            (group / 4 / group_lanes, group_lanes)
        } else {
            (experts4.div_ceil(lanes), 1)
        };
        let least_lanes = experts4.div_ceil(vectors).max(gate.top_k).next_power_of_two().max(LEAST_LANES);
        (vectors <= MOST_VECTORS).then_some(Self { vectors, group_lanes, least_lanes })
    }

    /// That of the variant of a name, if it has subgroups and suits.
    fn of_variant(gate: &Gate, variant: &str) -> Option<Self> {
        let (_, lanes) = SUBGROUP_VARIANTS.iter().find(|(name, _)| *name == variant)?;
        Self::of(gate, *lanes)
    }
}

impl TopK {
    fn slots(&self) -> usize {
        self.tokens * self.gate.top_k
    }

    /// Compares the experts of a token with the twin's, and their weights with what the twin gives these experts.
    fn compare_token(&self, token: usize, inputs: &Tensors, outputs: &Tensors, seen: &mut Seen) {
        let gate = &self.gate;
        let scores = twin::gating::scores(gate, &inputs["logits"], &inputs["bias"], token);
        let got: Vec<usize> =
            (0..gate.top_k).map(|j| outputs["expert_of_slot"].index_at(&[token, j]) as usize).collect();
        if !judge_topk(gate, &got, &scores, LogitsOf::OneInput) {
            seen.sets.add_wrong(token, &got, &twin::gating::chosen(gate, &scores));
            return;
        }
        for (j, &expert) in got.iter().enumerate() {
            let weight = twin::gating::weight(gate, &scores, &got, expert);
            seen.weights.pair(&[token, j], outputs["weight"].at(&[token, j]), weight);
        }
    }
}

/// The override `SCORING` of the shaders.
fn scoring_code(scoring: Scoring) -> u8 {
    match scoring {
        Scoring::Softmax => 0,
        Scoring::Sigmoid => 1,
        Scoring::SqrtSoftplus => 2,
        Scoring::BiasedSoftmax => 3,
    }
}

/// The slots that an invocation keeps in registers where it chooses for a token by itself.
fn most_top_k(top_k: usize) -> usize {
    if top_k <= 8 { 8 } else { top_k.next_multiple_of(4) }
}

/// The deviations over the tokens compared so far.
struct Seen {
    weights: Deviation,
    sets: TopkCheck,
}

impl Seen {
    fn nothing() -> Self {
        Self { weights: Deviation::of("weight"), sets: TopkCheck::new() }
    }

    fn verification(self, slots: usize) -> Verification {
        let weights = self.weights.relative(tolerance(StorageType::F32), slots);
        self.sets.verdict(Verification { metric: Metric::TopkSet, ..weights }, slots)
    }
}

impl Kernel for TopK {
    fn name(&self) -> &'static str {
        match (self.gate.scoring, self.gate.renormalise) {
            (Scoring::Sigmoid, _) => "sigmoid_group_topk",
            (Scoring::SqrtSoftplus, _) => "sqrtsoftplus_topk",
            (Scoring::BiasedSoftmax, true) => "biased_softmax_topk_renorm",
            (Scoring::BiasedSoftmax, false) => "biased_softmax_topk",
            (Scoring::Softmax, true) => "softmax_topk_renorm",
            (Scoring::Softmax, false) => "softmax_topk",
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
        &["token", "subgroup", "workgroup", "subgroup_32"]
    }

    fn suits(&self, variant: &str) -> bool {
        let is_for_subgroups = SUBGROUP_VARIANTS.iter().any(|(name, _)| *name == variant);
        !is_for_subgroups || OnLanes::of_variant(&self.gate, variant).is_some()
    }

    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::F32]
    }

    fn layout(&self, _variant: &str) -> usize {
        0
    }

    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        let gate = &self.gate;
        // Per expert one comparison and one exponential; the rest is small.
        let mut plan = Plan::new(Work {
            flop: Flop::new(2.0 * (self.tokens * gate.experts) as f64),
            bytes_read: Bytes::new(4.0 * (self.tokens * gate.experts + gate.experts) as f64),
            bytes_written: Bytes::new(8.0 * self.slots() as f64),
        });
        let bindings = [
            plan.buffer("logits", Role::Input, self.tokens * gate.experts * 4),
            plan.buffer("bias", Role::Input, gate.experts * 4),
            plan.buffer("expert_of_slot", Role::Output, self.slots() * 4),
            plan.buffer("weight", Role::Output, self.slots() * 4),
        ];
        let (launch, workgroups) = if let Some(on_lanes) = OnLanes::of_variant(gate, variant) {
            let launch = Launch::of("gate_subgroup", element)
                .needs(&[Need::Subgroup])
                .least_lanes(on_lanes.least_lanes)
                .constant("VECTORS", word(on_lanes.vectors))
                .overrides([("GROUP_LANES", on_lanes.group_lanes as f64)]);
            (launch, self.tokens.div_ceil(SUBGROUP_TOKENS))
        } else if variant == "workgroup" {
            (Launch::of("gate_workgroup", element), self.tokens)
        } else {
            let most_kept = if gate.kept_groups < gate.groups { gate.kept_groups.next_multiple_of(4) } else { 4 };
            let launch = Launch::of("gate_token", element)
                .constants([("MAX_TOP_K", word(most_top_k(gate.top_k))), ("MAX_KEPT", word(most_kept))]);
            (launch, self.tokens.div_ceil(WORKGROUP))
        };
        let launch = launch
            .overrides([
                ("SCORING", f64::from(scoring_code(gate.scoring))),
                ("RENORMALISE", f64::from(u8::from(gate.renormalise))),
                ("WORKGROUP", WORKGROUP as f64),
            ])
            .bindings(bindings)
            .grid([word(workgroups), 1, 1]);
        #[expect(clippy::cast_possible_truncation, reason = "the kernel works in f32")]
        let scale = (gate.scale as f32).to_bits();
        plan.launch(launch.params([
            ("tokens", word(self.tokens)),
            ("experts", word(gate.experts)),
            ("top_k", word(gate.top_k)),
            ("groups", word(gate.groups)),
            ("kept_groups", word(gate.kept_groups)),
            ("scale", scale),
        ]));
        plan
    }

    fn inputs(&self, _variant: &str, _element: StorageType, seed: u64) -> Tensors {
        let dims = [self.tokens, self.gate.experts];
        let random = Tensor::random(&dims, &dims, StorageType::F32, Random { sigma: 1.5, seed: seed ^ 0xA });
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
            Logits::Random => {
                Tensor::random(&dims[1..], &dims[1..], StorageType::F32, Random { sigma: 0.1, seed: seed ^ 0xB })
            }
            _ => Tensor::floats(&dims[1..], &vec![0.125; dims[1]]),
        };
        Tensors::from([("logits", logits), ("bias", bias)])
    }

    fn outputs(&self, _variant: &str, _element: StorageType) -> Vec<Output> {
        let dims = [self.tokens, self.gate.top_k];
        vec![
            Output::new("expert_of_slot", &dims, &dims, TensorType::Index),
            Output::new("weight", &dims, &dims, StorageType::F32),
        ]
    }

    fn tokens_per_expert(&self, outputs: &Tensors) -> Option<Vec<u32>> {
        routing::counts(&outputs["expert_of_slot"], self.gate.experts)
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, _element: StorageType, effort: u64) -> Verification {
        let mut seen = Seen::nothing();
        for token in sample(self.tokens, self.gate.experts * 16, effort) {
            self.compare_token(token, inputs, outputs, &mut seen);
        }
        seen.verification(self.slots())
    }

    /// If two variants choose different experts for a token, both choices are compared with the twin.
    fn agreement(&self, ours: Computed, theirs: Computed, element: StorageType) -> Verification {
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
        let weights = verification::whole("weight", our_weight.kind(), element, agreed.len(), |index| {
            let token = agreed[index];
            (vec![token], our_weight.row(token), their_weight.row(token))
        });
        worst_of(vec![weights, seen.verification(self.slots())])
    }
}
