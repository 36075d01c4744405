//! Fits the figures of frameworks that train on published rows, and judges models by fits that have not seen them.

use std::collections::BTreeSet;

use rayon::prelude::*;
use serde::Serialize;

use crate::projection::answer::estimate;
use crate::projection::validation::published_row::{ErrorSummary, of_errors};
use crate::projection::validation::serving::{TrainingCase, training_cases};

/// A figure that is fitted.
struct Free {
    /// Its key in the file of a framework.
    key: &'static str,
    /// The framework; all of them where `None`.
    framework: Option<&'static str>,
    /// Where the search starts, in the key's unit.
    start: f64,
    /// The least that it may be.
    least: f64,
    /// The most: beyond it, it would stand for something else.
    most: f64,
}

const FREE: [Free; 5] = [
    Free { key: "op_host_s", framework: None, start: 3e-5, least: 5e-6, most: 1e-4 },
    Free { key: "expert_host_s", framework: None, start: 3.4e-5, least: 1e-5, most: 1e-4 },
    Free { key: "routing_passes", framework: Some("megatron"), start: 15.0, least: 1.0, most: 60.0 },
    Free { key: "routing_passes", framework: Some("megatron-hybridep"), start: 15.0, least: 1.0, most: 60.0 },
    Free { key: "product_factor", framework: None, start: 1.05, least: 1.0, most: 1.2 },
];
/// Values of [`FREE`].
type Values = [f64; FREE.len()];

/// Rounds over all figures.
const ROUNDS: usize = 24;
/// Weight of the worst row beside the mean.
const WORST_WEIGHT: f64 = 0.5;
/// The errors that are accepted: of dense models, and of mixtures of experts.
const ACCEPTED: (f64, f64) = (0.15, 0.3);

/// A fitted figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FittedFigure {
    /// Its key in the file of a framework.
    pub key: &'static str,
    /// The framework; absent where all share it.
    pub framework: Option<&'static str>,
    /// Fitted on all rows, in the key's unit.
    pub value: f64,
    /// The least of the fits without one model each.
    pub low: f64,
    /// The greatest of them.
    pub high: f64,
}

/// Errors of a model's rows under a fit without it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnseenModel {
    /// The model; `all` for all of them together.
    pub model: String,
    /// Their errors.
    pub errors: ErrorSummary,
}

/// Fits and what they say of rows that they have not seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingFit {
    /// The figures.
    pub figures: Vec<FittedFigure>,
    /// The rows that they were fitted on.
    pub seen: ErrorSummary,
    /// Rows of the same table that they were not fitted on.
    pub unseen: ErrorSummary,
    /// Each model of the fitted rows under the fit without it; the last one holds all.
    pub without_model: Vec<UnseenModel>,
}

/// Fits the figures on the rows that are marked so.
pub fn fit() -> TrainingFit {
    let (seen, unseen): (Vec<TrainingCase>, Vec<TrainingCase>) =
        training_cases().into_iter().partition(|case| case.fitted);
    let seen: Vec<&TrainingCase> = seen.iter().collect();
    let unseen: Vec<&TrainingCase> = unseen.iter().collect();
    let models: BTreeSet<&str> = seen.iter().map(|case| case.model.as_str()).collect();
    let models: Vec<&str> = models.into_iter().collect();
    let all = best(&seen);
    let others: Vec<Values> = models
        .par_iter()
        .map(|model| best(&seen.iter().copied().filter(|case| case.model != *model).collect::<Vec<_>>()))
        .collect();
    let mut every = Vec::new();
    let mut without_model = Vec::new();
    for (model, values) in models.iter().zip(&others) {
        let own: Vec<&TrainingCase> = seen.iter().copied().filter(|case| case.model == *model).collect();
        let errors = self::errors(&own, values);
        every.extend(errors.iter().copied());
        without_model.push(UnseenModel { model: (*model).to_owned(), errors: of_errors(errors) });
    }
    without_model.push(UnseenModel { model: "all".to_owned(), errors: of_errors(every) });
    let figures = FREE.iter().enumerate().map(|(index, free)| {
        let ends = |pick: fn(f64, f64) -> f64| others.iter().map(|values| values[index]).fold(all[index], pick);
        let (low, high) = (ends(f64::min), ends(f64::max));
        FittedFigure { key: free.key, framework: free.framework, value: all[index], low, high }
    });
    TrainingFit {
        figures: figures.collect(),
        seen: of_errors(errors(&seen, &all)),
        unseen: of_errors(errors(&unseen, &all)),
        without_model,
    }
}

/// The values with the least loss, by a search along one of them at a time whose steps, as factors, grow and shrink.
fn best(cases: &[&TrainingCase]) -> Values {
    let mut at = FREE.each_ref().map(|free| free.start);
    let mut steps = FREE.each_ref().map(|free| (free.most / free.least).ln() / 8.0);
    let mut least = loss(cases, &at);
    for _ in 0..ROUNDS {
        for (index, free) in FREE.iter().enumerate() {
            let tried = [1.0, -1.0].into_iter().find_map(|sign| {
                let mut other = at;
                other[index] = (at[index] * (sign * steps[index]).exp()).clamp(free.least, free.most);
                let loss = loss(cases, &other);
                (loss < least - 1e-6).then_some((other, loss))
            });
            if let Some((better, loss)) = tried {
                (at, least) = (better, loss);
                steps[index] *= 1.3;
            } else {
                steps[index] /= 2.0;
            }
        }
    }
    at
}

/// The mean of the absolute errors over those that are accepted, and a share of the worst.
fn loss(cases: &[&TrainingCase], values: &Values) -> f64 {
    let accepted = |case: &TrainingCase| if case.request.model.moe.is_some() { ACCEPTED.1 } else { ACCEPTED.0 };
    let over = |case: &&TrainingCase| error(case, values).map(|error| error.abs() / accepted(case));
    let errors: Vec<f64> = cases.iter().filter_map(over).collect();
    let worst = errors.iter().copied().fold(0.0, f64::max);
    errors.iter().sum::<f64>() / errors.len().max(1) as f64 + WORST_WEIGHT * worst
}

fn errors(cases: &[&TrainingCase], values: &Values) -> Vec<f64> {
    cases.iter().filter_map(|case| error(case, values)).collect()
}

/// Modelled over published, less one; `None` where there is no plan.
fn error(case: &TrainingCase, values: &Values) -> Option<f64> {
    let mut request = case.request.clone();
    let framework = request.framework.as_mut()?;
    let name = framework.name.clone();
    for (key, value) in framework.values_mut() {
        let is_it = |free: &Free| free.key == key && free.framework.is_none_or(|of| of == name);
        if let Some(index) = FREE.iter().position(is_it) {
            value.value = values[index];
        }
    }
    let (plan, outcome) = estimate(&request).ok()?;
    Some(outcome.throughput(&plan) / case.published - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specs::TrainingFramework;

    #[test]
    fn the_files_of_the_frameworks_hold_the_fit_and_its_band() {
        for figure in fit().figures {
            for name in TrainingFramework::builtin_names() {
                if figure.framework.is_some_and(|of| of != name) {
                    continue;
                }
                let mut framework = TrainingFramework::load(name).unwrap();
                let found = framework.values_mut().into_iter().find(|(key, _)| *key == figure.key);
                let value = found.map(|(_, value)| value.clone()).unwrap();
                let near = |one: f64, other: f64| (one / other - 1.0).abs() < 0.01;
                assert!(near(value.value, figure.value), "{name} {}: {} fitted", figure.key, figure.value);
                assert!(near(value.low.unwrap(), figure.low), "{name} {}: low {}", figure.key, figure.low);
                assert!(near(value.high.unwrap(), figure.high), "{name} {}: high {}", figure.key, figure.high);
            }
        }
    }
}
