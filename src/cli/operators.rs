//! `supernode operators`: files of operators that others measured.

use std::path::PathBuf;

use crate::cli::error::Error;
use crate::cli::output::{print, print_json};
use crate::cli::progress::{Progress, Shown};
use crate::operators::{self, OperatorFile};
use crate::report::terminal::operators as tables;

const EXAMPLES: &str = "\
Examples:
  supernode operators import aiconfigurator_core/systems/data -o operators.parquet
  supernode operators show operators.parquet
  supernode project --model deepseek-v3 --phase decode --chip h200 --fabric hgx-400g --chips 32 --operators operators.parquet
  supernode validate silicon silicon.csv --operators operators.parquet

The tables of aiconfigurator are in the PyPI package aiconfigurator-core (Apache-2.0): unpack its wheel and give the folder
aiconfigurator_core/systems/data.";

/// Read measured operators of others, for `project --operators`
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Read the tables of NVIDIA's aiconfigurator into one file
    Import {
        /// Folder of SYSTEM/FAMILY/FRAMEWORK/VERSION/OPERATOR_perf.parquet
        folder: PathBuf,
        /// The file to write
        #[arg(long, short, value_name = "FILE", default_value = "operators.parquet")]
        output: PathBuf,
        /// Print what was read as JSON
        #[arg(long)]
        json: bool,
    },
    /// List the tables of a file
    Show {
        /// The file
        file: PathBuf,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
}

/// Runs `supernode operators`.
///
/// # Errors
/// [`Error::Input`] for what cannot be read or written.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    match &args.what {
        What::Import { folder, output, json } => {
            let fail = |error: operators::TableImportError| Error::Input(error.to_string());
            let progress = Progress::new(operators::count(folder).map_err(fail)?, Shown::UnlessQuiet);
            let imported = operators::import(folder, output, &|| progress.step_silently());
            progress.finish();
            let imported = imported.map_err(fail)?;
            if *json {
                print_json(&imported)
            } else {
                print(&tables::imported(&imported, &output.display().to_string()))
            }
        }
        What::Show { file, json } => {
            let opened =
                OperatorFile::open(file).map_err(|error| Error::Input(format!("{}: {error}", file.display())))?;
            if *json { print_json(&opened.tables()) } else { print(&tables::listed(opened.tables())) }
        }
    }
}
