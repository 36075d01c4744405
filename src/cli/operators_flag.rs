//! The flag `--operators`: measured operators in place of shares of the roofs.

use std::path::PathBuf;

use crate::cli::error::Error;
use crate::projection::ChipModel;

/// Which measured operators a chip takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct OperatorsFlag {
    /// Measured operators of others, as `supernode operators import` writes them: they take the place of shares of the roofs
    #[arg(long, value_name = "FILE")]
    operators: Option<PathBuf>,
    /// Whose operators, as SYSTEM, FRAMEWORK or SYSTEM/FRAMEWORK, e.g. h200_sxm/vllm [default: those of the chip, the fastest of all
    /// frameworks]
    ///
    /// A chip without operators of its own may take those of another: as many times slower than its own roofs as they were
    /// slower than the other's.
    #[arg(long, value_name = "SYSTEM/FRAMEWORK", requires = "operators")]
    operators_of: Option<String>,
}

impl OperatorsFlag {
    /// Whether operators were asked for.
    pub(super) const fn is_given(&self) -> bool {
        self.operators.is_some()
    }

    /// Gives them to a chip.
    ///
    /// # Errors
    /// [`Error::Input`]: the file cannot be read, or has none of that system.
    #[cfg(feature = "parquet")]
    pub(super) fn apply(&self, chip: &mut ChipModel, chip_name: &str) -> Result<(), Error> {
        use crate::operators::{OperatorFile, chip_of_system};
        use crate::projection::operator_source::{OperatorChoice, tables};
        let Some(path) = &self.operators else { return Ok(()) };
        let fail = |error: String| Error::Input(format!("{}: {error}", path.display()));
        let file = OperatorFile::open(path).map_err(|error| fail(error.to_string()))?;
        let (system, framework) = self.choice(&file);
        let choice = OperatorChoice { system: system.as_deref(), framework: &framework };
        let tables = tables(&file, chip, chip_name, choice).map_err(|error| fail(error.to_string()))?;
        let of_other = system.filter(|system| chip_of_system(system) != Some(chip_name));
        chip.set_operators(tables, of_other.as_deref());
        Ok(())
    }

    /// System and framework that were asked for; an empty framework is all of them.
    #[cfg(feature = "parquet")]
    fn choice(&self, file: &crate::operators::OperatorFile) -> (Option<String>, String) {
        let asked = self.operators_of.as_deref().unwrap_or_default();
        let is_system = |name: &str| file.tables().iter().any(|table| table.system == name);
        match asked.split_once('/') {
            Some((system, framework)) => (Some(system.to_owned()), framework.to_owned()),
            None if asked.is_empty() => (None, String::new()),
            None if is_system(asked) => (Some(asked.to_owned()), String::new()),
            None => (None, asked.to_owned()),
        }
    }

    /// Gives them to a chip.
    ///
    /// # Errors
    /// [`Error::Input`]: this build cannot read Parquet.
    #[cfg(not(feature = "parquet"))]
    pub(super) fn apply(&self, _: &mut ChipModel, _: &str) -> Result<(), Error> {
        if self.operators.is_none() {
            return Ok(());
        }
        Err(cannot_read())
    }
}

/// Why a build without Parquet takes no operators.
#[cfg(not(feature = "parquet"))]
pub(super) fn cannot_read() -> Error {
    Error::Input("this build cannot read Parquet; build it with the feature `parquet`".to_owned())
}
