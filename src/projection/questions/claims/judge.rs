//! All readings of a claim, and the verdict that follows from them.

use serde::Serialize;

use crate::projection::caveat::ProjectionCaveat;
use crate::projection::chip::ChipModel;
use crate::projection::questions::catalogue::SweepError;
use crate::projection::questions::claims::reading::ClaimReading;
use crate::projection::questions::claims::verdict::{Nearest, Verdict, nearest, verdict};
use crate::projection::questions::claims::{arithmetic, projected};
use crate::specs::claim::{Claim, Figure};

/// A claim with all its readings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// Short name.
    pub name: String,
    /// In words.
    pub title: String,
    /// As announced, each with the verdict on it alone.
    pub figures: Vec<JudgedFigure>,
    /// The verdict on all figures together.
    pub verdict: Verdict,
    /// All readings.
    pub readings: Vec<ClaimReading>,
    /// What the reader must keep in mind.
    pub caveats: Vec<ProjectionCaveat>,
}

/// A figure with its verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JudgedFigure {
    /// As announced.
    #[serde(flatten)]
    pub figure: Figure,
    /// The verdict.
    pub verdict: Verdict,
    /// The reading that comes nearest, by central values.
    pub nearest: Option<Nearest>,
}

/// Judges claims. `measured`, the chip of a record, replaces the chip of every projected reading. `done` hears the
/// model's name of each question that is answered.
///
/// # Errors
/// [`SweepError`]: a reading names what does not exist.
pub fn judge(
    claims: &[Claim],
    measured: Option<&ChipModel>,
    done: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Judged>, SweepError> {
    claims.iter().map(|claim| judge_one(claim, measured, done)).collect()
}

fn judge_one(claim: &Claim, measured: Option<&ChipModel>, done: &(dyn Fn(&str) + Sync)) -> Result<Judged, SweepError> {
    let (readings, mut caveats) = if claim.is_projected() {
        projected::readings(claim, measured, done)?
    } else {
        (claim.readings.points().map(|point| arithmetic::reading_of(claim, point)).collect(), Vec::new())
    };
    if readings.iter().any(|reading| reading.circular) {
        caveats.push(ProjectionCaveat::CircularReading { claim: claim.title.clone() });
    }
    let figures = claim.figures.iter().enumerate().map(|(index, figure)| JudgedFigure {
        figure: figure.clone(),
        verdict: verdict(claim, &readings, Some(index)),
        nearest: nearest(claim, &readings, Some(index)),
    });
    Ok(Judged {
        name: claim.name.clone(),
        title: claim.title.clone(),
        figures: figures.collect(),
        verdict: verdict(claim, &readings, None),
        readings,
        caveats,
    })
}
