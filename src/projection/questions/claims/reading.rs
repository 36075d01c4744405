//! A claim under one reading: what the model says, and whether that fits.

use serde::Serialize;

use crate::projection::questions::scaling::ScalePoint;
use crate::projection::result::Interval;
use crate::specs::Point;
use crate::specs::claim::{Claim, ClaimQuantity, Figure};

/// What a model says about a figure under a reading.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReadingValue {
    /// Which figure.
    pub of: ClaimQuantity,
    /// The model's, in SI units.
    pub value: Interval,
    /// Whether it overlaps the figure's range.
    pub fits: bool,
    /// The central value over the nearest end of the range; 1 inside it.
    pub off_by: f64,
}

/// A claim under one reading.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClaimReading {
    /// The reading.
    pub point: Point,
    /// The model's values, in the order of the claim's figures; empty where there is none.
    pub values: Vec<ReadingValue>,
    /// Whether all of them fit.
    pub fits: bool,
    /// How the values came about.
    pub how: String,
    /// Why there is no value.
    pub impossible: Option<String>,
    /// Whether an input has the figure from the claim itself, which then proves nothing.
    pub circular: bool,
    /// The machine by size, where the claim is about size.
    pub series: Vec<ScalePoint>,
}

/// Values in the order of the figures, how they came about, and whether an input has the figure from the claim itself.
pub(super) struct Derived {
    pub(super) values: Vec<Interval>,
    pub(super) how: String,
    pub(super) circular: bool,
}

impl ClaimReading {
    /// A reading from what was derived, or from why nothing was.
    pub(super) fn new(claim: &Claim, point: Point, derived: Result<Derived, String>) -> Self {
        let (Derived { values, how, circular }, impossible) = match derived {
            Ok(derived) => (derived, None),
            Err(reason) => (Derived { values: Vec::new(), how: String::new(), circular: false }, Some(reason)),
        };
        let values: Vec<ReadingValue> =
            claim.figures.iter().zip(values).map(|(figure, value)| compare(figure, value)).collect();
        let fits = !values.is_empty() && !circular && values.iter().all(|value| value.fits);
        Self { point, values, fits, how, impossible, circular, series: Vec::new() }
    }
}

/// Compares a value with a figure.
fn compare(figure: &Figure, value: Interval) -> ReadingValue {
    let most = figure.high.unwrap_or(f64::INFINITY);
    // A band of no width still meets a figure of no width, rounding aside.
    let slack = 1e-9;
    let fits = value.low <= most * (1.0 + slack) && value.high >= figure.low * (1.0 - slack);
    let off_by = if value.median < figure.low {
        value.median / figure.low
    } else if value.median > most {
        value.median / most
    } else {
        1.0
    };
    ReadingValue { of: figure.of, value, fits, off_by }
}
