//! `supernode fleet`: many devices at once over MPI, and documents of fleets.

mod gather;
mod merge;
#[cfg(feature = "mpi")]
mod options;
#[cfg(feature = "mpi")]
mod over_mpi;
mod show;

use clap::Subcommand;

use crate::cli::error::Error;

const EXAMPLES: &str = "\
Examples:
  mpirun -n 16 supernode fleet -o fleet.json          all devices of a cluster, one rank each
  srun -N 2 --ntasks-per-node=8 supernode fleet       the same under Slurm, into out/fleet.json
  mpirun -n 16 supernode fleet -o fleet.json --resume    after a rank died
  supernode fleet show fleet.json --details           outliers, spread and network of a document
  supernode fleet gather fleet.ranks -o fleet.json    what the ranks left, however the run ended
  supernode fleet merge a.json b.json -o all.json     two fleets of different devices as one
  supernode report fleet.json                         the page, with a strip of all devices

One rank measures one device. On each computer, ranks take the devices in order; with fewer devices than ranks the run is
refused, unless --share-devices lets ranks take them in turn. The network is measured from the computers' main memory.

Exit codes: 0 done; 1 a kernel or a transfer is wrong; 2 bad input, ranks that differ, or a rank that could not measure.";

/// Measure many devices at once over MPI (one rank per device) and the network between them; or show, gather and merge documents
/// of fleets
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<FleetCommand>,
    #[cfg(feature = "mpi")]
    #[command(flatten)]
    run: options::RunArgs,
    /// What a build with MPI would be asked
    #[cfg(not(feature = "mpi"))]
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum FleetCommand {
    Show(show::Args),
    Gather(gather::Args),
    Merge(merge::Args),
}

/// Runs `supernode fleet`.
///
/// # Errors
/// [`Error::Input`] for what cannot be read, ranks that differ, a device that cannot be measured or a build without MPI;
/// [`Error::Negative`] where a kernel or a transfer is wrong.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    match &args.command {
        Some(FleetCommand::Show(args)) => show::run(args),
        Some(FleetCommand::Gather(args)) => gather::run(args),
        Some(FleetCommand::Merge(args)) => merge::run(args),
        None => measured(args),
    }
}

#[cfg(feature = "mpi")]
fn measured(args: &Args) -> Result<(), Error> {
    over_mpi::run(&args.run)
}

#[cfg(not(feature = "mpi"))]
fn measured(_: &Args) -> Result<(), Error> {
    Err(Error::Input(
        "this build cannot use MPI; install an MPI library and libclang (Debian: apt install libopenmpi-dev libclang-dev) \
         and build with `cargo build --release --features mpi`"
            .to_owned(),
    ))
}
