//! Twin of `gate_*.wgsl` and `sort_*.wgsl`.

use crate::kernels::gate::Gate;
use crate::kernels::tensor::Tensor;
use crate::specs::Scoring;

/// Choices and probabilities of one token.
pub struct Scores {
    /// The value that each expert is chosen by; minus infinity if its group was dropped.
    pub choice: Vec<f64>,
    /// The probability of each expert, from which the weights are made.
    pub probability: Vec<f64>,
    /// The lowest kept group score minus the highest dropped one. A margin near rounding makes the set ambiguous.
    pub group_margin: f64,
}

/// Scores of one token before the top-k.
pub fn scores(gate: &Gate, logits: &Tensor, bias: &Tensor, token: usize) -> Scores {
    let experts = gate.experts;
    let added: Vec<f64> = (0..experts).map(|e| bias.at(&[e])).collect();
    let mut logit: Vec<f64> = (0..experts).map(|e| logits.at(&[token, e])).collect();
    if gate.scoring == Scoring::BiasedSoftmax {
        logit.iter_mut().zip(&added).for_each(|(l, b)| *l += b);
    }
    if matches!(gate.scoring, Scoring::Softmax | Scoring::BiasedSoftmax) {
        // Softmax is monotonic, so logits give the order of the probabilities, without their rounding.
        let largest = logit.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let exponential: Vec<f64> = logit.iter().map(|l| (l - largest).exp()).collect();
        let sum: f64 = exponential.iter().sum();
        let probability = exponential.iter().map(|e| e / sum).collect();
        return Scores { choice: logit, probability, group_margin: f64::INFINITY };
    }
    let probability: Vec<f64> = match gate.scoring {
        Scoring::SqrtSoftplus => logit.iter().map(|l| l.exp().ln_1p().sqrt()).collect(),
        _ => logit.iter().map(|l| 1.0 / (1.0 + (-l).exp())).collect(),
    };
    let mut choice: Vec<f64> = (0..experts).map(|e| probability[e] + added[e]).collect();
    let group_margin = drop_groups(gate, &mut choice);
    Scores { choice, probability, group_margin }
}

/// DeepSeek-V3's group limit: keeps the `kept_groups` groups with the largest sum of their two best choices. Returns
/// [`Scores::group_margin`].
fn drop_groups(gate: &Gate, choice: &mut [f64]) -> f64 {
    if gate.kept_groups >= gate.groups {
        return f64::INFINITY;
    }
    let size = gate.experts / gate.groups;
    let mut ranked: Vec<(f64, usize)> = Vec::new();
    for group in 0..gate.groups {
        let mut members = choice[group * size..(group + 1) * size].to_vec();
        members.sort_by(|a, b| b.total_cmp(a));
        ranked.push((members.iter().take(2).sum(), group));
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    for &(_, group) in &ranked[gate.kept_groups..] {
        choice[group * size..(group + 1) * size].fill(f64::NEG_INFINITY);
    }
    ranked[gate.kept_groups - 1].0 - ranked[gate.kept_groups].0
}

/// The `top_k` best experts, best first. Of equal experts the lower index comes first.
pub fn chosen(gate: &Gate, scores: &Scores) -> Vec<usize> {
    let mut order: Vec<usize> = (0..gate.experts).collect();
    order.sort_by(|&a, &b| scores.choice[b].total_cmp(&scores.choice[a]).then(a.cmp(&b)));
    order.truncate(gate.top_k);
    order
}

/// The weight of `expert` among the experts `chosen`.
pub fn weight(gate: &Gate, scores: &Scores, chosen: &[usize], expert: usize) -> f64 {
    let sum: f64 = chosen.iter().map(|&e| scores.probability[e]).sum();
    let denominator = if gate.renormalise { sum } else { 1.0 };
    gate.scale * scores.probability[expert] / denominator
}

/// Token slots in order of their expert. The rows of each expert begin at a multiple of `row_tile`.
pub struct Sorted {
    /// Slot of each row; `None` is padding.
    pub slot_of_row: Vec<Option<usize>>,
    /// Row of each slot.
    pub row_of_slot: Vec<usize>,
    /// Expert of each used block of `row_tile` rows.
    pub block_expert: Vec<usize>,
    /// Slots per expert.
    pub expert_rows: Vec<usize>,
}

/// Sorts slots by expert, in slot order within each expert.
pub fn sort(expert_of_slot: &[usize], experts: usize, row_tile: usize) -> Sorted {
    let mut sorted = Sorted {
        slot_of_row: Vec::new(),
        row_of_slot: vec![0; expert_of_slot.len()],
        block_expert: Vec::new(),
        expert_rows: vec![0; experts],
    };
    for expert in 0..experts {
        for (slot, &e) in expert_of_slot.iter().enumerate() {
            if e == expert {
                sorted.row_of_slot[slot] = sorted.slot_of_row.len();
                sorted.slot_of_row.push(Some(slot));
                sorted.expert_rows[expert] += 1;
            }
        }
        while !sorted.slot_of_row.len().is_multiple_of(row_tile) {
            sorted.slot_of_row.push(None);
        }
        while sorted.block_expert.len() * row_tile < sorted.slot_of_row.len() {
            sorted.block_expert.push(expert);
        }
    }
    sorted
}
