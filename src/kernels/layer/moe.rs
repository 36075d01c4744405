//! A mixture-of-experts layer on one chip: router, gate, sort, both expert matmuls and the weighted sum.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::super::compare::{Comparison, Metric, Verification, sample};
use super::super::gating::{Gate, Logits, Sort, TopK};
use super::super::matmul::{Combine, Matmul, MatmulRole, tolerance};
use super::super::routing::{self, Load};
use super::super::tensor::{Kind, Tensor, Tensors};
use super::super::{Element, Family, Kernel, Output, Plan, Role, Work, named, twin};
use super::{append, floats_of, stored};
use crate::units::{Bytes, Flop};

/// A layer whose experts all live on this chip. Its routing is what its gate produces.
#[derive(Debug, Clone)]
pub struct MoeLayer {
    /// The gate; `experts` is a multiple of 4.
    pub gate: Gate,
    /// Tokens.
    pub tokens: usize,
    /// Hidden size.
    pub hidden: usize,
    /// Intermediate size of an expert.
    pub intermediate: usize,
}

/// The kernels of a layer; the variant of the layer is that of its expert matmuls, the others take their defaults.
struct Parts {
    router: Matmul,
    top_k: TopK,
    sort: Sort,
    gate_up: Matmul,
    down: Matmul,
    combine: Combine,
}

impl MoeLayer {
    fn matmul(&self, role: MatmulRole, k: usize, n: usize) -> Matmul {
        let (experts, top_k) = match role {
            MatmulRole::RouterLogits => (1, 1),
            _ => (self.gate.experts, self.gate.top_k),
        };
        Matmul { role, experts, tokens: self.tokens, top_k, k, n, load: Load::Uniform }
    }

    fn parts(&self, variant: &str) -> Parts {
        let (tokens, top_k, experts) = (self.tokens, self.gate.top_k, self.gate.experts);
        let row_tile = Matmul::row_tile(variant);
        Parts {
            router: self.matmul(MatmulRole::RouterLogits, self.hidden, experts),
            top_k: TopK { gate: self.gate.clone(), tokens, logits: Logits::Random },
            sort: Sort { tokens, top_k, experts, row_tile, load: Load::Uniform },
            gate_up: self.matmul(MatmulRole::GateUp, self.hidden, self.intermediate),
            down: self.matmul(MatmulRole::Down, self.intermediate, self.hidden),
            combine: Combine { tokens, top_k, hidden: self.hidden, experts },
        }
    }

    /// The tokens' hidden states in the storage type, and as the router reads them.
    fn x_names(element: Element) -> [&'static str; 2] {
        if element == Element::F32 { ["x", "x"] } else { ["x", "x_f32"] }
    }

    /// Each operand from outside once, and the output.
    fn work(&self, plan: &Plan, element: Element) -> Work {
        let read = |kernel: &str| {
            let part = plan.parts.iter().find(|part| part.kernel == kernel);
            part.map_or(0.0, |part| part.work.bytes_read.get())
        };
        let size = element.size_bytes() as f64;
        let slots = (self.tokens * self.gate.top_k) as f64;
        let weights = read("router_logits") - 4.0 * (self.tokens * self.hidden) as f64 + read("gate_up") + read("down")
            - size * slots * self.intermediate as f64;
        Work {
            flop: plan.parts.iter().map(|part| part.work.flop).sum(),
            bytes_read: Bytes::new(weights + 4.0 * self.gate.experts as f64),
            bytes_written: Bytes::new(size * (self.tokens * self.hidden) as f64),
        }
    }
}

impl Kernel for MoeLayer {
    fn family(&self) -> Family {
        Family::Layer
    }

    fn name(&self) -> &'static str {
        "moe_layer"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[
            ("tokens", self.tokens),
            ("experts", self.gate.experts),
            ("top_k", self.gate.top_k),
            ("hidden", self.hidden),
            ("intermediate", self.intermediate),
        ])
    }

    fn variants(&self) -> &'static [&'static str] {
        self.matmul(MatmulRole::GateUp, self.hidden, self.intermediate).variants()
    }

    fn elements(&self) -> &'static [Element] {
        &[Element::F32, Element::F16]
    }

    fn variant_elements(&self, variant: &str) -> &'static [Element] {
        let matmul = self.matmul(MatmulRole::GateUp, self.hidden, self.intermediate);
        floats_of(matmul.variant_elements(variant))
    }

    fn suits(&self, variant: &str) -> bool {
        let parts = self.parts(variant);
        parts.gate_up.suits(variant) && parts.down.suits(variant)
    }

    /// Its variants are those of its expert matmuls, the larger of which is tried alone.
    fn smaller(&self, most: Flop) -> Option<Box<dyn Kernel>> {
        self.matmul(MatmulRole::GateUp, self.hidden, self.intermediate).smaller(most)
    }

    fn plan(&self, variant: &str, element: Element) -> Plan {
        use Role::{Input, Output, Scratch};
        let parts = self.parts(variant);
        let variant = self.variants().iter().copied().find(|known| *known == variant).unwrap_or_default();
        let [x, x_router] = Self::x_names(element);
        let mut plan = Plan::new(Work::default());
        let wires = [
            ("a", x_router, Input),
            ("b", "router_b", Input),
            ("block_expert", "router_block_expert", Input),
            ("slot_of_row", "router_slot_of_row", Input),
            ("c", "logits", Scratch),
        ];
        append(&mut plan, &parts.router, parts.router.default_variant(), Element::F32, &wires);
        let wires = [
            ("logits", "logits", Scratch),
            ("bias", "bias", Input),
            ("expert_of_slot", "expert_of_slot", Output),
            ("weight", "weight", Scratch),
        ];
        append(&mut plan, &parts.top_k, parts.top_k.default_variant(), Element::F32, &wires);
        let wires = [
            ("expert_of_slot", "expert_of_slot", Output),
            ("expert_rows", "expert_rows", Scratch),
            ("block_expert", "block_expert", Scratch),
            ("slot_of_row", "slot_of_row", Scratch),
            ("row_of_slot", "row_of_slot", Scratch),
        ];
        append(&mut plan, &parts.sort, parts.sort.default_variant(), Element::F32, &wires);
        let routing = [("block_expert", "block_expert", Scratch), ("slot_of_row", "slot_of_row", Scratch)];
        let wires = [("a", x, Input), ("b", "gate_up_b", Input), ("c", "h", Scratch), routing[0], routing[1]];
        append(&mut plan, &parts.gate_up, variant, element, &wires);
        let wires = [("a", "h", Scratch), ("b", "down_b", Input), ("c", "y", Scratch), routing[0], routing[1]];
        append(&mut plan, &parts.down, variant, element, &wires);
        let wires = [
            ("y", "y", Scratch),
            ("weight", "weight", Scratch),
            ("row_of_slot", "row_of_slot", Scratch),
            ("out", "out", Output),
        ];
        append(&mut plan, &parts.combine, parts.combine.default_variant(), element, &wires);
        plan.work = self.work(&plan, element);
        plan.issued_flop = plan.issued_flop.max(plan.work.flop);
        plan
    }

    fn inputs(&self, variant: &str, element: Element, seed: u64) -> Tensors {
        let parts = self.parts(variant);
        let mut router = parts.router.inputs(parts.router.default_variant(), Element::F32, seed ^ 0x100);
        let mut gate_up = parts.gate_up.inputs(variant, element, seed ^ 0x200);
        let mut down = parts.down.inputs(variant, element, seed ^ 0x300);
        let mut gate = parts.top_k.inputs(parts.top_k.default_variant(), Element::F32, seed ^ 0x400);
        let [x, x_router] = Self::x_names(element);
        let mut inputs = Tensors::new();
        let mut take = |from: &mut Tensors, name: &'static str, to: &'static str| {
            if let Some(tensor) = from.remove(name) {
                inputs.insert(to, tensor);
            }
        };
        take(&mut router, "b", "router_b");
        take(&mut router, "block_expert", "router_block_expert");
        take(&mut router, "slot_of_row", "router_slot_of_row");
        take(&mut gate, "bias", "bias");
        take(&mut gate_up, "a", x);
        take(&mut gate_up, "b", "gate_up_b");
        take(&mut down, "b", "down_b");
        // The router reads whole tiles of rows; those beyond the tokens are nobody's.
        let rows = inputs["router_slot_of_row"].dims()[0].max(self.tokens);
        let widened = inputs[x].widened(rows, self.hidden.next_multiple_of(4));
        inputs.insert(x_router, widened);
        inputs
    }

    fn outputs(&self, _variant: &str, element: Element) -> Vec<Output> {
        let slots = [self.tokens, self.gate.top_k];
        vec![
            Output::new("expert_of_slot", &slots, &slots, Kind::Index),
            Output::new("out", &[self.tokens, self.hidden], &[self.tokens, self.hidden.next_multiple_of(4)], element),
        ]
    }

    fn tokens_per_expert(&self, outputs: &Tensors) -> Option<Vec<u32>> {
        routing::counts(&outputs["expert_of_slot"], self.gate.experts)
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, element: Element, effort: u64) -> Verification {
        let mut routing = Comparison::of("expert_of_slot");
        let mut out = Comparison::of("out");
        let mut wrong_tokens = 0;
        let cost = 3 * self.gate.top_k * self.hidden * self.intermediate + self.gate.experts * self.hidden;
        let most = if cost as u64 > effort { 1 } else { self.tokens };
        for token in sample(self.tokens, cost, effort).take(most) {
            let (got, want, scores) = self.routing(token, inputs, outputs);
            if !acceptable(&self.gate, &got, &want, &scores) {
                wrong_tokens += 1;
                for (j, (&got, &want)) in got.iter().zip(&want).enumerate() {
                    routing.pair(&[token, j], got as f64, want as f64);
                }
                continue;
            }
            for (column, want) in self.chain(token, &got, &scores, inputs, element).into_iter().enumerate() {
                out.pair(&[token, column], outputs["out"].at(&[token, column]), want);
            }
        }
        // Four roundings follow one another where a single kernel has one.
        let mut verification = out.relative(2.0 * tolerance(element), self.tokens * self.hidden);
        if wrong_tokens > 0 {
            let sets = routing.exact(self.tokens * self.gate.top_k);
            verification.metric = Metric::TopkSet;
            verification.checked += sets.checked;
            verification.value = 1.0 + f64::from(wrong_tokens);
            verification.worst = sets.worst;
        }
        verification
    }
}

/// Logits of the kernel and of the twin differ by rounding, so choices this close may go either way.
const TIE: f64 = 1e-5;

impl MoeLayer {
    fn routing(
        &self,
        token: usize,
        inputs: &Tensors,
        outputs: &Tensors,
    ) -> (Vec<usize>, Vec<usize>, twin::gating::Scores) {
        let [_, x_router] = Self::x_names(if inputs.contains_key("x_f32") { Element::F16 } else { Element::F32 });
        let logits: Vec<f32> = (0..self.gate.experts)
            .map(|expert| {
                let logit = twin::matmul::product(&inputs[x_router], &inputs["router_b"], token, 0, expert);
                #[expect(clippy::cast_possible_truncation, reason = "the kernel stores f32")]
                let stored = logit as f32;
                stored
            })
            .collect();
        let logits = Tensor::floats(&[1, self.gate.experts], &logits);
        let scores = twin::gating::scores(&self.gate, &logits, &inputs["bias"], 0);
        let want = twin::gating::chosen(&self.gate, &scores);
        let top_k = self.gate.top_k;
        let got = (0..top_k).map(|j| outputs["expert_of_slot"].index_at(&[token, j]) as usize).collect();
        (got, want, scores)
    }

    /// The layer's output for one token whose experts are `chosen`, step by step as the kernels store it.
    fn chain(
        &self,
        token: usize,
        chosen: &[usize],
        scores: &twin::gating::Scores,
        inputs: &Tensors,
        element: Element,
    ) -> Vec<f64> {
        let mut out = vec![0.0; self.hidden];
        for &expert in chosen {
            let weight = twin::gating::weight(&self.gate, scores, chosen, expert);
            let h: Vec<f64> = (0..self.intermediate)
                .into_par_iter()
                .map(|i| stored(twin::matmul::swiglu(&inputs["x"], &inputs["gate_up_b"], token, expert, i), element))
                .collect();
            let down = &inputs["down_b"];
            out.par_iter_mut().enumerate().for_each(|(column, out)| {
                let y: f64 = h.iter().enumerate().map(|(i, h)| h * down.at(&[expert, i, column])).sum();
                *out += weight * stored(y, element);
            });
        }
        out
    }
}

fn acceptable(gate: &Gate, got: &[usize], want: &[usize], scores: &twin::gating::Scores) -> bool {
    if got == want {
        return true;
    }
    let distinct = got.iter().all(|expert| got.iter().filter(|other| *other == expert).count() == 1);
    if !distinct || got.iter().any(|&expert| expert >= gate.experts) {
        return false;
    }
    let near = |(&got, &want): (&usize, &usize)| got == want || (scores.choice[got] - scores.choice[want]).abs() < TIE;
    scores.group_margin < TIE || got.iter().zip(want).all(near)
}
