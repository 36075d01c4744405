//! Grids of questions: the answer to each point as one row.

use std::ops::Range;

use serde::Serialize;

use crate::projection::answer::project;
use crate::projection::caveat::ProjectionCaveat;
use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::questions::catalogue::{Catalogue, Defaults, Question, ServingQuestion};
use crate::projection::questions::serving_point::is_serving;
use crate::projection::request::Infeasible;
use crate::projection::result::{BoundBy, Interval, MemoryUse, Projection};
use crate::projection::serving::answer::{Goodput, RequestTimes};
use crate::projection::serving::deployment::Deployment;
use crate::projection::serving::{self, ServingAnswer, ServingLoad, ServingRefusal};
use crate::projection::terms::Terms;
use crate::specs::{NumberType, Point};
use crate::units::Seconds;

/// The part of a projection that a sweep keeps: figures, plan and caveats, without the source of each input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Type of weights and matrix products.
    #[serde(rename = "type")]
    pub number_type: NumberType,
    /// Throughput of one chip.
    pub tokens_per_s_per_chip: Interval,
    /// Time of one step.
    pub step_s: Seconds,
    /// Decode: time per output token.
    pub tpot_s: Option<Seconds>,
    /// Prefill: time to the first token.
    pub ttft_s: Option<Seconds>,
    /// Model FLOP over peak FLOP of the step.
    pub mfu: f64,
    /// The split.
    pub plan: ParallelPlan,
    /// The step by its parts.
    pub terms_s: Terms,
    /// What binds.
    pub bound_by: BoundBy,
    /// Memory of one chip, bytes.
    pub memory_bytes_per_chip: MemoryUse,
    /// What the reader must keep in mind.
    pub caveats: Vec<ProjectionCaveat>,
}

/// The part of an answer about serving that a sweep keeps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServingFigures {
    /// Type of weights and matrix products.
    #[serde(rename = "type")]
    pub number_type: NumberType,
    /// The load; that of the best deployment where none was given.
    pub load: Option<ServingLoad>,
    /// Output tokens per second of one chip.
    pub tokens_per_s_per_chip: f64,
    /// Output tokens per second of a user.
    pub tokens_per_s_per_user: f64,
    /// Requests per second over all chips.
    pub request_rate: f64,
    /// Requests per second that the deployment answers at most.
    pub most_requests_per_s: f64,
    /// Time to the first token.
    pub ttft_s: RequestTimes,
    /// Time per output token after the first.
    pub tpot_s: RequestTimes,
    /// What keeps the limits.
    pub goodput: Goodput,
    /// What runs where.
    pub deployment: Deployment,
    /// Memory of one chip that computes answers, bytes.
    pub memory_bytes_per_chip: MemoryUse,
    /// Requests behind the percentiles.
    pub simulated_requests: usize,
    /// What the reader must keep in mind.
    pub caveats: Vec<ProjectionCaveat>,
}

/// The figures of a row, by its phase.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RowFigures {
    /// Of one step.
    Step(Figures),
    /// Of serving.
    Serving(ServingFigures),
}

impl RowFigures {
    /// Tokens per second and chip.
    fn rate(&self) -> f64 {
        match self {
            Self::Step(figures) => figures.tokens_per_s_per_chip.median,
            Self::Serving(figures) => figures.tokens_per_s_per_chip,
        }
    }
}

/// One line of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SweepRow {
    /// The point's number in the whole grid, from 0.
    pub index: u64,
    /// What was asked.
    pub point: Point,
    /// The answer; absent where there is no plan.
    #[serde(flatten)]
    pub figures: Option<RowFigures>,
    /// Why there is no plan; of serving also why none keeps up with the load, or within the limits.
    pub infeasible: Option<String>,
    /// The answer on the baseline, where one is named and has a plan.
    pub baseline: Option<RowFigures>,
    /// Why the baseline has no plan.
    pub baseline_infeasible: Option<String>,
    /// Tokens per second and chip over the baseline's, each at its own best plan.
    pub speedup: Option<f64>,
}

impl From<Projection> for Figures {
    fn from(projection: Projection) -> Self {
        Self {
            number_type: projection.number_type,
            tokens_per_s_per_chip: projection.tokens_per_s_per_chip,
            step_s: projection.step_s,
            tpot_s: projection.tpot_s,
            ttft_s: projection.ttft_s,
            mfu: projection.mfu,
            plan: projection.plan,
            terms_s: projection.terms_s,
            bound_by: projection.bound_by,
            memory_bytes_per_chip: projection.memory_bytes_per_chip,
            caveats: projection.caveats,
        }
    }
}

impl From<ServingAnswer> for ServingFigures {
    fn from(answer: ServingAnswer) -> Self {
        Self {
            number_type: answer.number_type,
            load: answer.load,
            tokens_per_s_per_chip: answer.tokens_per_s_per_chip,
            tokens_per_s_per_user: answer.tokens_per_s_per_user,
            request_rate: answer.request_rate,
            most_requests_per_s: answer.most_requests_per_s,
            ttft_s: answer.ttft_s,
            tpot_s: answer.tpot_s,
            goodput: answer.goodput,
            deployment: answer.deployment,
            memory_bytes_per_chip: answer.memory_bytes_per_chip,
            simulated_requests: answer.simulated_requests,
            caveats: answer.caveats,
        }
    }
}

/// An answer, or why there is none.
type Answered = (Option<RowFigures>, Option<String>);

/// Answers the point of this number.
pub fn row(catalogue: &Catalogue, index: u64, point: Point, defaults: Defaults<'_>) -> SweepRow {
    let ends = if is_serving(&point) {
        catalogue.serving_question(&point, defaults).map(|ServingQuestion { asked, baseline }| {
            let baseline = baseline.map(|other| served(serving::answer(&other)));
            (served(serving::answer(&asked)), baseline)
        })
    } else {
        catalogue.question(&point, defaults).map(|Question { request, baseline }| {
            let baseline = baseline.map(|other| stepped(project(&other)));
            (stepped(project(&request)), baseline)
        })
    };
    let ((figures, infeasible), baseline) = ends.unwrap_or_else(|reason| ((None, Some(reason)), None));
    let (baseline, baseline_infeasible) = baseline.unwrap_or_default();
    let speedup = figures.as_ref().zip(baseline.as_ref()).map(|(on, other)| on.rate() / other.rate());
    SweepRow { index, point, figures, infeasible, baseline, baseline_infeasible, speedup }
}

fn served(answer: Result<ServingAnswer, ServingRefusal>) -> Answered {
    match answer {
        Ok(answer) => (Some(RowFigures::Serving(answer.into())), None),
        Err(reason) => (None, Some(reason.to_string())),
    }
}

fn stepped(answer: Result<Projection, Infeasible>) -> Answered {
    let (figures, reason) = answer_or_reason(answer);
    (figures.map(RowFigures::Step), reason)
}

/// The figures of an answer, or why there is none.
pub(super) fn answer_or_reason(answer: Result<Projection, Infeasible>) -> (Option<Figures>, Option<String>) {
    match answer {
        Ok(projection) => (Some(projection.into()), None),
        Err(reason) => (None, Some(reason.to_string())),
    }
}

/// The points of shard `number` of `count`, counted from 1. Shards are blocks in order, whose lengths differ by one at
/// most. One after another, the shards' files are the file of the whole sweep.
pub fn shard(points: u64, number: u32, count: u32) -> Range<u64> {
    let count = u128::from(count.max(1));
    let cut = |number: u128| u64::try_from(u128::from(points) * number.min(count) / count).unwrap_or(points);
    let number = u128::from(number);
    cut(number.saturating_sub(1))..cut(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_follow_each_other_without_gap() {
        assert_eq!(shard(10, 1, 3), 0..3);
        assert_eq!(shard(10, 2, 3), 3..6);
        assert_eq!(shard(10, 3, 3), 6..10);
        assert_eq!(shard(2, 1, 5), 0..0);
        assert_eq!(shard(u64::MAX, 7, 7).end, u64::MAX);
    }
}
