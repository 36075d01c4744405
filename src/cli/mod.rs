//! The command line: one file per subcommand, each with its `Args` and a `run`. It parses and calls; `report` shows.

mod claims;
mod compare;
mod completions;
#[cfg(feature = "gpu")]
mod device;
#[cfg(feature = "gpu")]
mod devices;
mod doctor;
mod documents;
mod error;
mod expert_load;
mod explain;
mod export;
mod fabric;
mod fleet;
mod interrupt;
mod man;
#[cfg(feature = "gpu")]
mod measure;
#[cfg(feature = "parquet")]
mod operators;
mod operators_flag;
mod output;
mod parse;
mod prices;
mod progress;
mod project;
mod question;
mod report;
#[cfg(feature = "gpu")]
mod run;
mod schema;
#[cfg(feature = "gpu")]
mod selection;
mod serving;
mod sweep;
mod validate;
mod validate_silicon;
#[cfg(feature = "gpu")]
mod verify;
mod web;

use clap::{CommandFactory, Parser, Subcommand};

pub use error::Error;

use crate::report::terminal;

const EXAMPLES: &str = "\
Examples:
  supernode run                                     verify, measure, project and report on the best adapter
  supernode devices                                 list the adapters
  supernode measure --preset quick -o mine.json     only the measurement
  supernode project --model deepseek-v3 --chip ascend-910c --fabric cloudmatrix384 --phase decode
  supernode project mine.json                       what 384 of the measured device would deliver
  supernode report mine.json --details              all tables of a record, and its page
  supernode fabric bench --fabric cloudmatrix384    dispatch on the bus by expert-parallel degree
  mpirun -n 16 supernode fleet                      all devices of a cluster and its network (feature `mpi`)
  supernode validate                                published figures compared with the model's
  supernode compare mine.json results/              devices side by side
  supernode export mine.json --format csv           the cases for another tool
  supernode web --serve                             the tool as a web page, built by `make web`
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
    Project(Box<project::Args>),
    Fabric(fabric::Args),
    Fleet(Box<fleet::Args>),
    Validate(validate::Args),
    #[cfg(feature = "parquet")]
    Operators(operators::Args),
    Explain(Box<explain::Args>),
    Claims(claims::Args),
    Sweep(sweep::Args),
    Compare(compare::Args),
    Report(report::Args),
    Export(export::Args),
    Schema(schema::Args),
    Web(web::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the parsed command.
///
/// # Errors
/// See [`Error`].
pub fn run(cli: Cli) -> Result<(), Error> {
    progress::set_quiet(cli.quiet);
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
        Command::Fleet(args) => fleet::run(&args),
        Command::Validate(args) => validate::run(&args),
        #[cfg(feature = "parquet")]
        Command::Operators(args) => operators::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Claims(args) => claims::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Web(args) => web::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command()),
    }
}
