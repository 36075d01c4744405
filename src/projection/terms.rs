//! The named terms of a step. They add up to it.

use std::ops::{Index, IndexMut};

use serde::Serialize;

use crate::units::Seconds;

/// One term of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// Attention over the KV cache or the sequence.
    Attention,
    /// Routed experts.
    ExpertMatmul,
    /// Router, top-k and sort.
    Gating,
    /// Projections, shared experts, dense layers, embeddings and LM head.
    Dense,
    /// Exposed time of the all-to-all out.
    Dispatch,
    /// Exposed time of the all-to-all back.
    Combine,
    /// Exposed time of all-reduce, all-gather, point-to-point.
    OtherCollectives,
    /// Pipeline stages that wait.
    Bubble,
    /// Launches and other fixed costs.
    Launch,
}

impl Term {
    /// All terms in the order of a layer, with the bubble before the launches.
    pub const ALL: [Self; 9] = [
        Self::Attention,
        Self::ExpertMatmul,
        Self::Gating,
        Self::Dense,
        Self::Dispatch,
        Self::Combine,
        Self::OtherCollectives,
        Self::Bubble,
        Self::Launch,
    ];

    /// Its key in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::ExpertMatmul => "expert_matmul",
            Self::Gating => "gating",
            Self::Dense => "dense",
            Self::Dispatch => "dispatch",
            Self::Combine => "combine",
            Self::OtherCollectives => "other_collectives",
            Self::Bubble => "bubble",
            Self::Launch => "launch",
        }
    }
}

/// A time by term, in seconds: what the schedule books.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TermTimes([f64; 9]);

impl TermTimes {
    /// This time in one term alone.
    pub fn of(term: Term, seconds: f64) -> Self {
        let mut times = Self::default();
        times[term] = seconds;
        times
    }

    /// The sum of all terms.
    pub fn total(&self) -> f64 {
        self.0.iter().sum()
    }

    /// Adds another time, scaled.
    pub fn add_scaled(&mut self, other: &Self, factor: f64) {
        self.0.iter_mut().zip(other.0).for_each(|(time, part)| *time += part * factor);
    }

    /// Each term divided by the same number.
    #[must_use]
    pub fn divided_by(self, divisor: f64) -> Self {
        Self(self.0.map(|time| time / divisor))
    }
}

impl Index<Term> for TermTimes {
    type Output = f64;

    fn index(&self, term: Term) -> &f64 {
        &self.0[term as usize]
    }
}

impl IndexMut<Term> for TermTimes {
    fn index_mut(&mut self, term: Term) -> &mut f64 {
        &mut self.0[term as usize]
    }
}

/// The terms of a step, as an answer shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Terms {
    /// Attention over the KV cache or the sequence.
    pub attention: Seconds,
    /// Routed experts.
    pub expert_matmul: Seconds,
    /// Router, top-k and sort.
    pub gating: Seconds,
    /// Projections, shared experts, dense layers, embeddings and LM head.
    pub dense: Seconds,
    /// Exposed time of the all-to-all out.
    pub dispatch: Seconds,
    /// Exposed time of the all-to-all back.
    pub combine: Seconds,
    /// Exposed time of all-reduce, all-gather, point-to-point.
    pub other_collectives: Seconds,
    /// Pipeline stages that wait.
    pub bubble: Seconds,
    /// Launches and other fixed costs.
    pub launch: Seconds,
}

impl Terms {
    /// One term's time.
    pub const fn of(&self, term: Term) -> Seconds {
        match term {
            Term::Attention => self.attention,
            Term::ExpertMatmul => self.expert_matmul,
            Term::Gating => self.gating,
            Term::Dense => self.dense,
            Term::Dispatch => self.dispatch,
            Term::Combine => self.combine,
            Term::OtherCollectives => self.other_collectives,
            Term::Bubble => self.bubble,
            Term::Launch => self.launch,
        }
    }

    /// Name and time of each term, in the order of [`Term::ALL`].
    pub fn named(&self) -> [(&'static str, Seconds); 9] {
        Term::ALL.map(|term| (term.name(), self.of(term)))
    }

    /// The step time.
    pub fn total(&self) -> Seconds {
        Term::ALL.into_iter().map(|term| self.of(term)).sum()
    }

    /// Adds what a schedule booked, scaled.
    pub fn add(&mut self, times: &TermTimes, factor: f64) {
        let scaled = |term: Term| Seconds::new(times[term] * factor);
        self.attention += scaled(Term::Attention);
        self.expert_matmul += scaled(Term::ExpertMatmul);
        self.gating += scaled(Term::Gating);
        self.dense += scaled(Term::Dense);
        self.dispatch += scaled(Term::Dispatch);
        self.combine += scaled(Term::Combine);
        self.other_collectives += scaled(Term::OtherCollectives);
        self.launch += scaled(Term::Launch);
    }
}
