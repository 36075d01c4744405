//! The command line: one file a subcommand, each with its `Args` and a `run`.

mod claims;
mod compare;
mod completions;
#[cfg(feature = "gpu")]
mod device;
#[cfg(feature = "gpu")]
mod devices;
mod doctor;
mod expert_load;
mod explain;
mod export;
mod fabric;
mod interrupt;
#[cfg(feature = "gpu")]
mod measure;
mod progress;
mod project;
mod report;
#[cfg(feature = "gpu")]
mod run;
mod schema;
mod sweep;
mod validate;
#[cfg(feature = "gpu")]
mod verify;

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};

use crate::printable::is_unprintable;
use crate::report::terminal;

const EXAMPLES: &str = "\
Examples:
  supernode run                                     verify, measure, project and report on the best adapter
  supernode devices                                 list the adapters
  supernode measure --preset quick -o mine.json     only the measurement
  supernode project --model deepseek-v3 --chip ascend-910c --fabric cloudmatrix384 --phase decode
  supernode project mine.json                       what 384 of the measured device would deliver
  supernode fabric bench --fabric cloudmatrix384    dispatch on the bus by expert-parallel degree
  supernode validate                                published figures beside the model's
  supernode compare mine.json results/              devices side by side
  supernode export mine.json --format csv           the cases for another tool
  supernode doctor                                  why no GPU is found, and what to install
  supernode explain --model deepseek-v3 --phase decode   why the bus is faster than the cluster
  supernode claims                                  the announcement's figures against the model
  supernode sweep sweep.toml -o sweep.jsonl         a grid of such questions, resumable and sharded

Exit codes:
  0    done
  1    the answer is no: a kernel is wrong, a plan does not fit, a comparison shows a regression, doctor finds no GPU
  2    bad input: a flag, a file or this machine; the message says what to do, and nothing was half written
  130  interrupted; what was finished is kept

NO_COLOR is honoured; tables and progress are plain where they are not shown on a terminal.";

/// How fast is this GPU at the kernels of a mixture-of-experts LLM, and what would 384 of them on a bus fabric deliver?
#[derive(Debug, Parser)]
#[command(name = "supernode", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// No progress and no notes: only results, warnings and errors
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "gpu")]
    Run(run::Args),
    #[cfg(feature = "gpu")]
    Devices(devices::Args),
    #[cfg(feature = "gpu")]
    Verify(verify::Args),
    #[cfg(feature = "gpu")]
    Measure(measure::Args),
    Project(Box<project::ProjectArgs>),
    Fabric(fabric::FabricArgs),
    Validate(validate::ValidateArgs),
    Explain(Box<explain::Args>),
    Claims(claims::Args),
    Sweep(sweep::Args),
    Compare(compare::Args),
    /// Write one HTML page from result documents
    Report(report::Args),
    Export(export::Args),
    /// Print the JSON Schema of a result document, or check a document
    Schema(schema::Args),
    Doctor(doctor::Args),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
}

/// Why a command ended early. Printed once, by `main`, as one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that was given, or that the machine lacks: what, where, and what to do. Exit code 2.
    #[error("{0}")]
    Input(String),
    /// The work was done and the answer is no, e.g. a kernel that failed verification. Exit code 1.
    #[error("{0}")]
    Negative(String),
    /// Ctrl-C. Exit code 130.
    #[error("{0}")]
    Interrupted(String),
}

impl Error {
    /// The message for a terminal: a path or a file's text in it may be a stranger's, so only line feeds are left of what
    /// steers one.
    pub fn shown(&self) -> String {
        let tame = |c: char| if c != '\n' && is_unprintable(c) { ' ' } else { c };
        self.to_string().chars().map(tame).collect()
    }

    /// The exit code that tells a script which of the three it was.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Negative(_) => 1,
            Self::Input(_) => 2,
            Self::Interrupted(_) => 130,
        })
    }
}

/// Runs the parsed command.
///
/// # Errors
/// See [`Error`].
pub fn run(cli: Cli) -> Result<(), Error> {
    QUIET.store(cli.quiet, Ordering::Relaxed);
    if let Some((terminal_size::Width(columns), _)) = terminal_size::terminal_size_of(std::io::stdout()) {
        terminal::fit_to(columns.into());
    }
    match cli.command {
        #[cfg(feature = "gpu")]
        Command::Run(args) => run::run(&args),
        #[cfg(feature = "gpu")]
        Command::Devices(args) => devices::run(&args),
        #[cfg(feature = "gpu")]
        Command::Verify(args) => verify::run(&args),
        #[cfg(feature = "gpu")]
        Command::Measure(args) => measure::run(&args),
        Command::Project(args) => project::run(&args),
        Command::Fabric(args) => fabric::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Claims(args) => claims::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Man(args) => completions::man(&args),
    }
}

/// Set by `--quiet`: no progress and no notes on standard error.
static QUIET: AtomicBool = AtomicBool::new(false);

/// A line for people on standard error, unless `--quiet` was given. Errors and warnings do not pass through here.
fn note(line: &str) {
    if !is_quiet() {
        anstream::eprintln!("{line}");
    }
}

fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// The content of a file, or its first `limit` bytes.
fn read_at_most(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), Error> {
    terminal::print(text).map_err(|error| Error::Input(format!("standard output: {error}")))
}

/// Writes a value as indented JSON to standard output.
fn print_json(value: &impl serde::Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Input(error.to_string()))?;
    print(&format!("{text}\n"))
}
