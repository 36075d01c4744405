//! `supernode fabric show` and `check`.

use clap::Args;

use super::super::{Error, print};
use super::input;
use crate::report::fabric as tables;
use crate::specs::Fabric;

/// List the fabrics, or show one with the source of each value.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// A fabric's name or the path of its TOML file
    #[arg(value_name = "NAME|FILE")]
    fabric: Option<String>,
    /// Change a value first, e.g. node.bandwidth=400e9
    #[arg(long, value_name = "TIER.KEY=VALUE")]
    set: Vec<String>,
}

/// Check the TOML file of a fabric: exit code 0, or one line with file and key.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// A fabric's name or the path of its TOML file
    #[arg(value_name = "NAME|FILE")]
    fabric: String,
}

pub(super) fn show(args: &ShowArgs) -> Result<(), Error> {
    let Some(name) = &args.fabric else {
        let fabrics = Fabric::builtin_names().into_iter().map(Fabric::load).collect::<Result<Vec<_>, _>>();
        return print(&tables::list(&fabrics.map_err(input)?));
    };
    let mut fabric = Fabric::load(name).map_err(input)?;
    for assignment in &args.set {
        fabric.set(assignment).map_err(input)?;
    }
    print(&tables::one(&fabric))
}

pub(super) fn check(args: &CheckArgs) -> Result<(), Error> {
    let fabric = Fabric::load(&args.fabric).map_err(input)?;
    let (chips, ranks) = (fabric.max_chips(), fabric.max_ranks());
    print(&format!(
        "{}: {} tiers, {chips} chips, {ranks} ranks ({}s)\n",
        fabric.name,
        fabric.tiers.len(),
        fabric.rank_unit()
    ))
}
