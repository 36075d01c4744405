//! `supernode fabric check`.

use crate::cli::error::Error;
use crate::cli::output::print;
use crate::specs::Fabric;

/// Check the TOML file of a fabric: exit code 0, or one line with file and key.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A fabric's name or the path of its TOML file
    #[arg(value_name = "NAME|FILE")]
    fabric: String,
}

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let fabric = Fabric::load(&args.fabric)?;
    let (chips, ranks) = (fabric.max_chips(), fabric.max_ranks());
    print(&format!(
        "{}: {} tiers, {chips} chips, {ranks} ranks ({}s)\n",
        fabric.name,
        fabric.tiers.len(),
        fabric.rank_unit()
    ))
}
