//! Errors over many deployments.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use crate::projection::validation::silicon::costs::DeploymentCosts;
use crate::projection::validation::silicon::deployment::{DeploymentFacts, Unexpressed};
use crate::projection::validation::silicon::predict::{Prediction, Profile, predict};
use crate::projection::validation::silicon::row::Row;
use crate::specs::{Framework, SpecError};
use crate::statistics::median;

/// A row with what the model says of it.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Line of the file.
    pub line: u64,
    /// Model.
    pub model: String,
    /// System.
    pub system: String,
    /// Framework.
    pub framework: String,
    /// Aggregated or disaggregated.
    pub mode: &'static str,
    /// Measured time to first token, seconds.
    pub ttft_s: f64,
    /// Measured time per token, seconds.
    pub tpot_s: f64,
    /// Modelled times, seconds.
    pub modelled: Prediction,
    /// Costs that they are made of.
    pub costs: DeploymentCosts,
}

impl Outcome {
    /// Modelled over measured time per token, less one.
    pub fn tpot_error(&self) -> f64 {
        self.modelled.tpot_s / self.tpot_s - 1.0
    }

    /// Modelled over measured time to first token, less one.
    pub fn ttft_error(&self) -> f64 {
        self.modelled.ttft_s / self.ttft_s - 1.0
    }
}

/// Relative errors of several rows, modelled over measured less one, as ratios.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ErrorFigures {
    /// Mean of the absolute errors.
    pub mean_abs: f64,
    /// Median of them.
    pub median_abs: f64,
    /// Median of the errors.
    pub bias_median: f64,
    /// Share of the rows within 20 %.
    pub within_20: f64,
    /// The largest absolute error.
    pub worst_abs: f64,
}

/// The errors of some rows.
#[derive(Debug, Clone, Serialize)]
pub struct ReportGroup {
    /// By what rows are grouped: model, system, framework or mode.
    pub by: &'static str,
    /// The group.
    pub name: String,
    /// Rows with an answer.
    pub expressed: usize,
    /// Errors of the time per token.
    pub tpot: ErrorFigures,
    /// Errors of the time to first token.
    pub ttft: ErrorFigures,
}

/// Rows without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnexpressedRows {
    /// Why.
    pub reason: String,
    /// How many.
    pub rows: usize,
}

/// The errors of a file.
#[derive(Debug, Clone, Serialize)]
pub struct SiliconReport {
    /// Rows of the file.
    pub rows: usize,
    /// Rows with an answer.
    pub expressed: usize,
    /// Errors of the time per token.
    pub tpot: ErrorFigures,
    /// Errors of the time to first token.
    pub ttft: ErrorFigures,
    /// The same by model, system, framework and mode.
    pub groups: Vec<ReportGroup>,
    /// Rows without an answer, by reason.
    pub unexpressed: Vec<UnexpressedRows>,
    /// Every row with an answer, in the order of the file.
    pub each: Vec<Outcome>,
}

/// Whose fixed times and factors rows have.
#[derive(Debug, Clone, PartialEq)]
pub enum FrameworkChoice {
    /// Those of each row's framework, where it is built in.
    OfRow,
    /// Those of one framework.
    One(Box<Framework>),
    /// None.
    None,
}

impl FrameworkChoice {
    /// The choice that a flag names: `none`, a built-in framework, or the path of a file.
    ///
    /// # Errors
    /// [`SpecError`], one line.
    pub fn named(name: &str) -> Result<Self, SpecError> {
        if name == "none" {
            Ok(Self::None)
        } else {
            Framework::load(name).map(|framework| Self::One(Box::new(framework)))
        }
    }

    /// The profiles by framework; that of the empty name holds for all.
    fn profiles(&self, with_operators: bool) -> BTreeMap<String, Profile> {
        let of = |framework: &Framework| Profile::of(framework.times(with_operators));
        let own = |framework: &Framework| (framework.name.clone(), of(framework));
        match self {
            Self::OfRow => {
                let names = Framework::builtin_names().into_iter();
                names.filter_map(|name| Framework::load(name).ok()).map(|framework| own(&framework)).collect()
            }
            Self::One(framework) => BTreeMap::from([(String::new(), of(framework))]),
            Self::None => BTreeMap::new(),
        }
    }
}

/// Answers every row.
pub fn evaluate(rows: &[Row], framework: &FrameworkChoice, catalogue: &DeploymentFacts) -> SiliconReport {
    let profiles = framework.profiles(catalogue.has_operators());
    let answers: Vec<Result<Outcome, Unexpressed>> =
        rows.par_iter().map(|row| answer(catalogue, &profiles, row)).collect();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut each = Vec::new();
    for answer in answers {
        match answer {
            Ok(outcome) => each.push(outcome),
            Err(reason) => *reasons.entry(reason).or_default() += 1,
        }
    }
    let all: Vec<&Outcome> = each.iter().collect();
    let unexpressed = reasons.into_iter().map(|(reason, rows)| UnexpressedRows { reason, rows }).collect();
    SiliconReport {
        rows: rows.len(),
        expressed: each.len(),
        tpot: figures(all.iter().map(|row| row.tpot_error())),
        ttft: figures(all.iter().map(|row| row.ttft_error())),
        groups: groups(&each),
        unexpressed,
        each,
    }
}

fn answer(
    catalogue: &DeploymentFacts,
    profiles: &BTreeMap<String, Profile>,
    row: &Row,
) -> Result<Outcome, Unexpressed> {
    let deployment = catalogue.deployment(row)?;
    let costs = DeploymentCosts::of(&deployment)?;
    let profile = profiles.get(&row.framework).or_else(|| profiles.get("")).copied();
    let profile = profile.unwrap_or_else(|| Profile::none(&costs));
    Ok(Outcome {
        line: row.line,
        model: row.model.clone(),
        system: row.system.clone(),
        framework: row.framework.clone(),
        mode: row.sharing.name(),
        ttft_s: row.ttft_s,
        tpot_s: row.tpot_s,
        modelled: predict(&costs, &profile),
        costs,
    })
}

fn groups(each: &[Outcome]) -> Vec<ReportGroup> {
    type Key = fn(&Outcome) -> &str;
    let keys: [(&'static str, Key); 4] = [
        ("model", |row| &row.model),
        ("system", |row| &row.system),
        ("framework", |row| &row.framework),
        ("mode", |row| row.mode),
    ];
    let mut list = Vec::new();
    for (by, key) in keys {
        let mut members: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
        for row in each {
            members.entry(key(row)).or_default().push(row);
        }
        list.extend(members.into_iter().map(|(name, rows)| ReportGroup {
            by,
            name: name.to_owned(),
            expressed: rows.len(),
            tpot: figures(rows.iter().map(|row| row.tpot_error())),
            ttft: figures(rows.iter().map(|row| row.ttft_error())),
        }));
    }
    list
}

/// Figures of errors; all are 0 where there is none.
pub(super) fn figures(errors: impl Iterator<Item = f64>) -> ErrorFigures {
    let errors: Vec<f64> = errors.collect();
    let absolute: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    let count = errors.len().max(1) as f64;
    ErrorFigures {
        mean_abs: absolute.iter().sum::<f64>() / count,
        median_abs: middle(absolute.clone()),
        bias_median: middle(errors),
        within_20: absolute.iter().filter(|error| **error <= 0.2).count() as f64 / count,
        worst_abs: absolute.into_iter().fold(0.0, f64::max),
    }
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    median(&values).unwrap_or(0.0)
}
