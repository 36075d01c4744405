//! Measured operators for a chip: its own, or those of another chip that it is taken for.

use std::sync::Arc;

use crate::operators::{
    MeasuredTable, OperatorFile, OperatorFileError, OperatorTables, RankPeaks, SYSTEMS, chip_of_system, system_of_chip,
};
use crate::projection::chip::ChipModel;
use crate::specs::{Chip, Scenario};

/// Whose operators.
#[derive(Debug, Clone, Copy)]
pub struct OperatorChoice<'a> {
    /// The system; the chip's own where it is left out.
    pub system: Option<&'a str>,
    /// The framework; the fastest of all where it is empty.
    pub framework: &'a str,
}

/// Why there are no operators for a chip.
#[derive(Debug, thiserror::Error)]
pub enum NoOperators {
    /// The file.
    #[error(transparent)]
    File(#[from] OperatorFileError),
    /// It has none of the chip's.
    #[error("{0}; with --operators-of SYSTEM the chip takes the shares of another one's roofs")]
    OfChip(OperatorFileError),
    /// The peaks of a system are not known.
    #[error("the peaks of {0} are not known, so its operators say nothing of another chip; give another system")]
    UnknownSystem(String),
    /// No table is of that framework.
    #[error("it has no operators of the framework {asked}; it has those of {known}")]
    NoFramework {
        /// The framework.
        asked: String,
        /// The ones that it has.
        known: String,
    },
}

/// The operators of a choice, for `chip`, whose built-in file has the name `chip_name`.
///
/// # Errors
/// [`NoOperators`].
pub fn tables(
    file: &OperatorFile,
    chip: &ChipModel,
    chip_name: &str,
    choice: OperatorChoice<'_>,
) -> Result<Arc<OperatorTables>, NoOperators> {
    let system = choice.system.unwrap_or_else(|| system_of_chip(chip_name));
    let measured = file.read(system).map_err(|error| match error {
        OperatorFileError::NoSystem { .. } if choice.system.is_none() => NoOperators::OfChip(error),
        other => NoOperators::File(other),
    })?;
    let own = peaks(system, chip, chip_name)?;
    of_framework(&measured, choice.framework)?;
    let source = match choice.framework {
        "" => format!("{system}, the fastest framework of each"),
        framework => format!("{system}, {framework}"),
    };
    let mut tables = OperatorTables::new(source, &own, &measured, choice.framework);
    if system != system_of_chip(chip_name) {
        tables.spread = tables.spread.max(apart(file, system, &tables, choice.framework));
    }
    Ok(Arc::new(tables))
}

/// How far the shares of other chips are from those of `system`: so far may those of a chip be that nobody measured.
fn apart(file: &OperatorFile, system: &str, tables: &OperatorTables, framework: &str) -> f64 {
    let others = SYSTEMS.into_iter().filter(|(other, _)| *other != system);
    let apart = others.filter_map(|(other, chip)| {
        let peaks = built_in_peaks(chip)?;
        let measured = file.read(other).ok()?;
        tables.apart(&OperatorTables::new(String::new(), &peaks, &measured, framework))
    });
    apart.fold(0.0, f64::max)
}

/// The peaks of the chip on which a system's operators were measured.
fn peaks(system: &str, chip: &ChipModel, chip_name: &str) -> Result<RankPeaks, NoOperators> {
    if system == system_of_chip(chip_name) {
        return Ok(chip.rank_peaks(Scenario::Nominal));
    }
    let unknown = || NoOperators::UnknownSystem(system.to_owned());
    chip_of_system(system).and_then(built_in_peaks).ok_or_else(unknown)
}

/// The peaks of a built-in chip.
fn built_in_peaks(chip: &str) -> Option<RankPeaks> {
    Some(ChipModel::from_spec(&Chip::load(chip).ok()?).rank_peaks(Scenario::Nominal))
}

fn of_framework(measured: &[MeasuredTable], framework: &str) -> Result<(), NoOperators> {
    let mut known: Vec<&str> = measured.iter().map(|table| table.framework.as_str()).collect();
    known.sort_unstable();
    known.dedup();
    if framework.is_empty() || known.contains(&framework) {
        return Ok(());
    }
    Err(NoOperators::NoFramework { asked: framework.to_owned(), known: known.join(", ") })
}
