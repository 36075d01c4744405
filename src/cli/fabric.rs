//! `supernode fabric`: the network model on its own.

mod bench;
mod check;
mod fit;
mod fit_fleet;
mod options;
mod show;

use clap::Subcommand;

use crate::cli::error::Error;

const EXAMPLES: &str = "\
Examples:
  supernode fabric show                                       the fabrics that come with the program
  supernode fabric show cloudmatrix384                        one fabric with the source of each value
  supernode fabric check mine.toml                            whether a file of your own is right
  supernode fabric bench --fabric cloudmatrix384 --op dispatch --ep 8,16,32,64,128,256
  supernode fabric bench --fabric cloudmatrix384 --op combine --ep 256 --load power:0.8 --fault plane=3
  supernode fabric bench --fabric cloudmatrix384 --compare h800-ib,roce-cluster --op dispatch --ep 32,256
  supernode fabric bench --fabric nvl72 --op all-reduce --ep 8,72 --bytes 64e6 --json
  supernode fabric fit                                        fit the free parameters again, with residuals
  supernode fabric fit roce-cluster --nccl all_reduce.txt -o mine.toml    a network of your own, from nccl-tests
  supernode fabric fit --fleet fleet.json -o mine.toml        a network of your own, from `supernode fleet`
  supernode project --fabric mine.toml                        and what it means";

/// The network: show, check, run collectives on it, fit it on published figures
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: FabricCommand,
}

#[derive(Debug, Subcommand)]
enum FabricCommand {
    Show(show::Args),
    Check(check::Args),
    Bench(Box<bench::Args>),
    Fit(fit::Args),
}

/// Runs `supernode fabric`.
///
/// # Errors
/// [`Error::Input`] for what cannot be read or does not fit; [`Error::Negative`] where faults cut ranks off.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    match &args.command {
        FabricCommand::Show(args) => show::run(args),
        FabricCommand::Check(args) => check::run(args),
        FabricCommand::Bench(args) => bench::run(args),
        FabricCommand::Fit(args) => fit::run(args),
    }
}
