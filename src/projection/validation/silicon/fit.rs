//! Fits frameworks' profiles on measured rows, and judges rows by fits that have not seen them.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::Serialize;

use crate::projection::validation::silicon::predict::{Prediction, Profile, predict};
use crate::projection::validation::silicon::row::Sharing;
use crate::projection::validation::silicon::summary::{ErrorFigures, Outcome, figures};

/// Weight of the time to first token beside that per token.
const TTFT_WEIGHT: f64 = 0.3;
/// Logarithmic errors beyond these count as these: a row that says something else than it measured must not lead.
const LARGEST: (f64, f64) = (1.5, 1.0);
/// Rows that speak for the fit of all frameworks when one of them is fitted.
const PRIOR_ROWS: f64 = 5.0;
/// Where the fit of all frameworks starts; usual values.
const START: Profile =
    Profile { step_s: 1e-3, prompt_op_s: 2e-5, prompt_factor: 1.0, request_s: 0.03, first_wave: 0.1 };
/// Rounds over all parameters.
const ROUNDS: usize = 60;

/// A framework's fitted profile, and the ends of what the fits without one system each give.
#[derive(Debug, Clone, Serialize)]
pub struct FittedProfile {
    /// The framework.
    pub framework: String,
    /// Aggregated rows, on which it was fitted.
    pub rows: usize,
    /// The fit on all of them.
    pub profile: Profile,
    /// The least of the others, value by value.
    pub low: Profile,
    /// The greatest of them.
    pub high: Profile,
}

/// Errors of rows under a fit that has not seen their group.
#[derive(Debug, Clone, Serialize)]
pub struct UnseenGroup {
    /// What was left out: a system or a model; `all` for all of them together.
    pub left_out: String,
    /// Its rows.
    pub rows: usize,
    /// Errors of the time per token.
    pub tpot: ErrorFigures,
    /// Errors of the time to first token.
    pub ttft: ErrorFigures,
}

/// Fits and what they say of rows that they have not seen.
#[derive(Debug, Clone, Serialize)]
pub struct FitReport {
    /// By framework.
    pub profiles: Vec<FittedProfile>,
    /// Under the fits on all rows.
    pub seen: UnseenGroup,
    /// Each system under fits without it; the last one holds all of them.
    pub without_system: Vec<UnseenGroup>,
    /// Each model under fits without it; the last one holds all of them.
    pub without_model: Vec<UnseenGroup>,
}

/// Fits all frameworks of the rows, with and without each system and model.
pub fn fit(rows: &[Outcome]) -> FitReport {
    let all = profiles(rows.iter());
    let seen = group("all rows, seen".to_owned(), rows.iter().map(|row| (row, judged(row, &all))).collect());
    let systems = without(rows, |row| &row.system);
    let models = without(rows, |row| &row.model);
    let profiles = all.iter().map(|(framework, profile)| {
        let others: Vec<Profile> = systems.values().filter_map(|fits| fits.get(framework).copied()).collect();
        let is_fitted = |row: &&Outcome| row.framework == *framework && row.costs.sharing == Sharing::Aggregated;
        let rows = rows.iter().filter(is_fitted).count();
        let ends = |pick: fn(f64, f64) -> f64| others.iter().fold(*profile, |ends, one| combine(&ends, one, pick));
        FittedProfile {
            framework: framework.clone(),
            rows,
            profile: *profile,
            low: ends(f64::min),
            high: ends(f64::max),
        }
    });
    FitReport {
        profiles: profiles.collect(),
        seen,
        without_system: unseen(rows, &systems, |row| &row.system),
        without_model: unseen(rows, &models, |row| &row.model),
    }
}

type Fits = BTreeMap<String, Profile>;

/// For each value of a key, the fits on the rows that have another.
fn without(rows: &[Outcome], key: fn(&Outcome) -> &String) -> BTreeMap<String, Fits> {
    let values: BTreeSet<&String> = rows.iter().map(key).collect();
    let values: Vec<&String> = values.into_iter().collect();
    let fits =
        values.par_iter().map(|value| ((*value).clone(), profiles(rows.iter().filter(|row| key(row) != *value))));
    fits.collect::<Vec<_>>().into_iter().collect()
}

/// The errors of each value's rows under the fits without it, then of all.
fn unseen(rows: &[Outcome], fits: &BTreeMap<String, Fits>, key: fn(&Outcome) -> &String) -> Vec<UnseenGroup> {
    let mut all = Vec::new();
    let mut list = Vec::new();
    for (value, fits) in fits {
        let members = rows.iter().filter(|row| key(row) == value);
        let judged: Vec<(&Outcome, Prediction)> = members.map(|row| (row, judged(row, fits))).collect();
        all.extend(judged.iter().copied());
        list.push(group(value.clone(), judged));
    }
    list.push(group("all".to_owned(), all));
    list
}

/// A row under the fit of its framework; without one where none of its rows is left.
fn judged(row: &Outcome, fits: &Fits) -> Prediction {
    predict(&row.costs, &fits.get(&row.framework).copied().unwrap_or_else(|| Profile::none(&row.costs)))
}

fn group(left_out: String, judged: Vec<(&Outcome, Prediction)>) -> UnseenGroup {
    UnseenGroup {
        left_out,
        rows: judged.len(),
        tpot: figures(judged.iter().map(|(row, modelled)| modelled.tpot_s / row.tpot_s - 1.0)),
        ttft: figures(judged.iter().map(|(row, modelled)| modelled.ttft_s / row.ttft_s - 1.0)),
    }
}

/// The fit of each framework, on its aggregated rows: how many workers the others had is not in the tables. It stays near
/// the fit of all frameworks together, as if [`PRIOR_ROWS`] rows said that, so that few rows do not lead far.
fn profiles<'a>(rows: impl Iterator<Item = &'a Outcome>) -> Fits {
    let mut by_framework: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    let rows: Vec<&Outcome> = rows.filter(|row| row.costs.sharing == Sharing::Aggregated).collect();
    for row in &rows {
        by_framework.entry(&row.framework).or_default().push(row);
    }
    let common = best(&rows, &START, 0.0);
    let fits =
        by_framework.into_iter().map(|(framework, rows)| (framework.to_owned(), best(&rows, &common, PRIOR_ROWS)));
    fits.collect()
}

/// The profile with the least loss, by a search along one parameter at a time whose steps grow and shrink.
fn best(rows: &[&Outcome], start: &Profile, prior_rows: f64) -> Profile {
    let from = values(start);
    let cost = |at: &[f64; 5]| (loss(rows, &profile(at)) + prior_rows * apart(at, &from)) / (rows.len() as f64 + 1e-9);
    let (mut at, mut steps) = (from, values(&START).map(|value| value / 2.0));
    let mut least = cost(&at);
    for _ in 0..ROUNDS {
        for index in 0..at.len() {
            let tried = [1.0, -1.0].into_iter().find_map(|sign| {
                let mut other = at;
                other[index] = (at[index] + sign * steps[index]).clamp(0.0, MOST[index]);
                let cost = cost(&other);
                (cost < least - 1e-9).then_some((other, cost))
            });
            if let Some((better, cost)) = tried {
                (at, least) = (better, cost);
                steps[index] *= 1.5;
            } else {
                steps[index] /= 2.0;
            }
        }
    }
    profile(&at)
}

/// How far two profiles are apart: squared logarithms of ratios, where a twentieth of the usual value is as good as none.
fn apart(one: &[f64; 5], other: &[f64; 5]) -> f64 {
    let usual = values(&START).map(|value| value / 20.0);
    (0..5).map(|index| ((one[index] + usual[index]) / (other[index] + usual[index])).ln().powi(2)).sum()
}

/// The most that a parameter may be: beyond it, it would stand for something else.
const MOST: [f64; 5] = [0.02, 2e-4, 4.0, 1.0, 1.0];

/// Sum of the absolute logarithmic errors.
fn loss(rows: &[&Outcome], profile: &Profile) -> f64 {
    let each = |row: &&Outcome| {
        let modelled = predict(&row.costs, profile);
        let ttft = (modelled.ttft_s / row.ttft_s).ln().abs().min(LARGEST.0);
        let tpot = (modelled.tpot_s / row.tpot_s).ln().abs().min(LARGEST.1);
        tpot + TTFT_WEIGHT * ttft
    };
    rows.iter().map(each).sum::<f64>()
}

fn values(profile: &Profile) -> [f64; 5] {
    let Profile { step_s, prompt_op_s, prompt_factor, request_s, first_wave } = *profile;
    [step_s, prompt_op_s, prompt_factor, request_s, first_wave]
}

fn profile(values: &[f64; 5]) -> Profile {
    let [step_s, prompt_op_s, prompt_factor, request_s, first_wave] = *values;
    Profile { step_s, prompt_op_s, prompt_factor, request_s, first_wave }
}

fn combine(one: &Profile, other: &Profile, pick: fn(f64, f64) -> f64) -> Profile {
    let (mut one, other) = (values(one), values(other));
    one.iter_mut().zip(other).for_each(|(value, other)| *value = pick(*value, other));
    profile(&one)
}
