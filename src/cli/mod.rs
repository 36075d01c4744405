//! The command line: one file a subcommand, each with its `Args` and a `run`.

mod project;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  supernode run                                     verify, measure, project and report on the best adapter
  supernode devices                                 list the adapters
  supernode project --model deepseek-v3 --chip ascend-910c --fabric cloudmatrix384 --phase decode
  supernode compare results/a.json results/b.json   two devices side by side";

/// How fast is this GPU at the kernels of a mixture-of-experts LLM, and what would 384 of them on a bus fabric deliver?
#[derive(Debug, Parser)]
#[command(name = "supernode", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Project(Box<project::ProjectArgs>),
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
    match cli.command {
        Command::Project(args) => project::run(&args),
    }
}
