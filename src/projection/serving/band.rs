//! The figures of a deployment with the uncertain inputs drawn.

use serde::Serialize;

use crate::projection::request::Request;
use crate::projection::result::Interval;
use crate::projection::serving::answer::{ServingAnswer, chosen};
use crate::projection::serving::deployment::ServingPoint;
use crate::projection::serving::pinned::pinned;
use crate::projection::serving::question::ServingRequest;
use crate::projection::uncertainty::bands_of;

/// Draws behind an interval: each takes up to a hundred steps, where a phase that is one step takes one.
pub const SERVING_DRAWS: u32 = 32;

/// Means of a deployment, each from the 5th to the 95th percentile of the draws.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ServingIntervals {
    /// Output tokens per second and chip.
    #[serde(rename = "tokens_per_s_per_chip_interval")]
    pub tokens_per_s_per_chip: Interval,
    /// Mean time to the first token, seconds.
    #[serde(rename = "ttft_s_interval")]
    pub ttft_s: Interval,
    /// Mean time per output token, seconds.
    #[serde(rename = "tpot_s_interval")]
    pub tpot_s: Interval,
}

/// The intervals of a deployment that was chosen, in closed form. The deployment and its clients stay, whatever the times;
/// each draw counts by its ratio to the central inputs.
pub fn intervals(asked: &ServingRequest, point: &ServingPoint) -> ServingIntervals {
    let alone = pinned(asked, point);
    let figures = |point: &ServingPoint| [point.tokens_per_s_per_chip, point.ttft_s, point.tpot_s];
    let drawn = |on: &Request| {
        let asked = ServingRequest { on: on.clone(), ..alone.clone() };
        Some(figures(&chosen(&asked).ok()?.0))
    };
    let central = figures(point);
    let reference = drawn(&alone.on).unwrap_or(central);
    let scaled = |on: &Request| {
        let drawn = drawn(on)?;
        Some(std::array::from_fn(|index| drawn[index] * (central[index] / reference[index])))
    };
    let [tokens_per_s_per_chip, ttft_s, tpot_s] = bands_of(&alone.on, SERVING_DRAWS, central, scaled);
    ServingIntervals { tokens_per_s_per_chip, ttft_s, tpot_s }
}

/// The intervals around the figures of an answer, as wide as in closed form. A trace sets its own pace, so that its figures
/// have none.
pub fn around(asked: &ServingRequest, answer: &ServingAnswer) -> ServingIntervals {
    let figures = [answer.tokens_per_s_per_chip, answer.ttft_s.mean, answer.tpot_s.mean];
    let [tokens_per_s_per_chip, ttft_s, tpot_s] = if asked.trace.is_empty() {
        let closed = intervals(asked, &answer.closed_form);
        let closed = [closed.tokens_per_s_per_chip, closed.ttft_s, closed.tpot_s];
        std::array::from_fn(|index| closed[index].around(figures[index]))
    } else {
        figures.map(Interval::exactly)
    };
    ServingIntervals { tokens_per_s_per_chip, ttft_s, tpot_s }
}
