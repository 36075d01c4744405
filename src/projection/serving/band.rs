//! The throughput of a deployment with the uncertain inputs drawn.

use crate::projection::request::Request;
use crate::projection::result::Interval;
use crate::projection::serving::answer::chosen;
use crate::projection::serving::deployment::ServingPoint;
use crate::projection::serving::pinned::pinned;
use crate::projection::serving::question::ServingRequest;
use crate::projection::uncertainty::band_of;

/// Draws behind an interval: each takes up to a hundred steps, where a phase that is one step takes one.
pub const SERVING_DRAWS: u32 = 32;

/// Tokens per second and chip of a deployment that was chosen, from the 5th to the 95th percentile of the draws. The
/// deployment and its clients stay, whatever the time per token; each draw counts by its ratio to the central inputs.
pub fn band(asked: &ServingRequest, point: &ServingPoint) -> Interval {
    let alone = pinned(asked, point);
    let rate = |on: &Request| {
        let asked = ServingRequest { on: on.clone(), ..alone.clone() };
        Some(chosen(&asked).ok()?.0.tokens_per_s_per_chip)
    };
    let central = point.tokens_per_s_per_chip;
    let scale = rate(&alone.on).map_or(1.0, |rate| central / rate);
    band_of(&alone.on, SERVING_DRAWS, central, |drawn| Some(rate(drawn)? * scale))
}
