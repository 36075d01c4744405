//! The judge of chosen experts: for the top-k kernel, and for the gate inside a whole layer.

use std::collections::BTreeSet;

use crate::kernels::gate::Gate;
use crate::kernels::twin::gating::{Scores, chosen};
use crate::kernels::verification::{Deviation, Metric, Verification};
use crate::specs::Scoring;

/// The logits that kernel and twin chose by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogitsOf {
    /// Both sides read the same logits. Equal choices are equal on both sides, and softmax without a bias compares logits
    /// without rounding.
    OneInput,
    /// Each side computed its own logits, which differ by rounding.
    OwnProduct,
}

impl LogitsOf {
    /// Whether two choices this far apart may come in either order. Choices are sums of numbers around 1. Those of
    /// [`Scoring::SqrtSoftplus`] reach 3, through one more function.
    fn is_tie(self, difference: f64, gate: &Gate) -> bool {
        match self {
            Self::OneInput if gate.scoring == Scoring::SqrtSoftplus => difference > 0.0 && difference < 4e-6,
            Self::OneInput => difference > 0.0 && difference < 1e-6,
            Self::OwnProduct => difference < 1e-5,
        }
    }

    /// Whether the order of experts may differ by rounding at all.
    fn rounds(self, gate: &Gate) -> bool {
        self == Self::OwnProduct || gate.scoring != Scoring::Softmax
    }
}

/// Whether the experts `got` are right for a token with these scores: the experts of the twin in the order of the twin, or
/// a valid set that differs from them only by ties.
pub(crate) fn judge_topk(gate: &Gate, got: &[usize], scores: &Scores, logits: LogitsOf) -> bool {
    let want = chosen(gate, scores);
    if got == want {
        return true;
    }
    let distinct: BTreeSet<usize> = got.iter().copied().collect();
    if distinct.len() != got.len() || got.iter().any(|&expert| expert >= gate.experts) {
        return false;
    }
    // A group that is kept by a tie may be dropped, and all its experts with it.
    let near = |(&got, &want): (&usize, &usize)| {
        got == want || logits.is_tie((scores.choice[got] - scores.choice[want]).abs(), gate)
    };
    logits.is_tie(scores.group_margin, gate) || logits.rounds(gate) && got.iter().zip(&want).all(near)
}

/// The tokens whose experts are wrong.
pub(crate) struct TopkCheck {
    experts: Deviation,
    wrong_sets: u64,
}

impl TopkCheck {
    /// Nothing is wrong yet.
    pub(crate) fn new() -> Self {
        Self { experts: Deviation::of("expert_of_slot"), wrong_sets: 0 }
    }

    /// Records the wrong experts `got` of a token.
    pub(crate) fn add_wrong(&mut self, token: usize, got: &[usize], want: &[usize]) {
        self.wrong_sets += 1;
        for (j, (&got, &want)) in got.iter().zip(want).enumerate() {
            self.experts.pair(&[token, j], got as f64, want as f64);
        }
    }

    /// The verdict on the whole kernel. `verified` is that on the numbers of the tokens with right experts. One wrong set
    /// fails the kernel; `slots` is the size of the output of experts.
    pub(crate) fn verdict(self, verified: Verification, slots: usize) -> Verification {
        if self.wrong_sets == 0 {
            return verified;
        }
        let sets = self.experts.exact(slots);
        Verification {
            metric: Metric::TopkSet,
            checked: verified.checked + sets.checked,
            value: 1.0 + self.wrong_sets as f64,
            worst: sets.worst,
            ..verified
        }
    }
}
