//! `supernode fabric show`.

use crate::cli::error::Error;
use crate::cli::output::print;
use crate::projection::{ChipModel, SystemPower};
use crate::report::terminal::fabric as tables;
use crate::specs::{Chip, Fabric, SpecError};

/// List the fabrics, or show one with the source of each value.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A fabric's name or the path of its TOML file
    #[arg(value_name = "NAME|FILE")]
    fabric: Option<String>,
    /// Change a value first, e.g. node.bandwidth=400e9
    #[arg(long, value_name = "TIER.KEY=VALUE")]
    set: Vec<String>,
    /// Show what this chip draws on it too
    #[arg(long, value_name = "NAME|FILE", requires = "fabric")]
    chip: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let Some(name) = &args.fabric else {
        let fabrics = Fabric::builtin_names().into_iter().map(Fabric::load).collect::<Result<Vec<_>, SpecError>>();
        return print(&tables::fabrics(&fabrics?));
    };
    let mut fabric = Fabric::load(name)?;
    for assignment in &args.set {
        fabric.set(assignment)?;
    }
    let mut text = tables::fabric(&fabric);
    if let Some(chip) = &args.chip {
        let chip = ChipModel::from_spec(&Chip::load(chip)?);
        text.push_str(&tables::power(&chip.name, &SystemPower::of(&chip, &fabric)));
    }
    print(&text)
}
