//! One job on machines of several sizes.

use rayon::prelude::*;
use serde::Serialize;

use crate::projection::answer::project;
use crate::projection::questions::sweep::{Figures, answer_or_reason};
use crate::projection::request::{Request, Workload};
use crate::projection::result::Interval;

/// Throughput of a job on a machine of one size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScalePoint {
    /// Chips in use.
    pub chips: u32,
    /// Tokens of a training step.
    pub global_batch_tokens: f64,
    /// The answer; absent where there is no plan.
    pub figures: Option<Figures>,
    /// Why there is no plan.
    pub infeasible: Option<String>,
    /// Throughput per chip over that at the smallest size, paired at the ends of the bands.
    pub efficiency: Option<Interval>,
}

/// What becomes of the global batch on a larger machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlobalBatch {
    /// It grows in proportion: weak scaling.
    Grows,
    /// It stays: strong scaling.
    Stays,
}

/// The request at each number of chips. Efficiency is relative to the first number that has a plan.
pub fn scaling(request: &Request, chips: &[u32], global_batch: GlobalBatch) -> Vec<ScalePoint> {
    let first = chips.first().copied().unwrap_or(request.chips).max(1);
    let per_chip = request.workload.global_batch_tokens / f64::from(first);
    let mut points: Vec<ScalePoint> = chips
        .par_iter()
        .map(|&chips| {
            let batch = request.workload.global_batch_tokens;
            let global_batch_tokens = match global_batch {
                GlobalBatch::Grows => per_chip * f64::from(chips),
                GlobalBatch::Stays => batch,
            };
            let workload = Workload { global_batch_tokens, ..request.workload.clone() };
            let answer = project(&Request { chips, workload, ..request.clone() });
            let (figures, infeasible) = answer_or_reason(answer);
            ScalePoint { chips, global_batch_tokens, figures, infeasible, efficiency: None }
        })
        .collect();
    let base = points.iter().find_map(|point| point.figures.as_ref()).map(|figures| figures.tokens_per_s_per_chip);
    for point in &mut points {
        point.efficiency =
            base.and_then(|base| Some(point.figures.as_ref()?.tokens_per_s_per_chip.paired_ratio(&base)));
    }
    points
}
