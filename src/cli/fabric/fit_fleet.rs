//! `supernode fabric fit --fleet`: a fabric made of the network that a fleet measured.

use std::fmt::Write as _;
use std::path::Path;

use crate::cli::error::Error;
use crate::cli::output::{print, print_json};
use crate::printable::printable;
use crate::projection::calibration::import::Measured;
use crate::projection::calibration::tiers::PairPoint;
use crate::projection::calibration::{ExchangeTime, FleetFit, FleetTimes, fit_fleet};
use crate::projection::fabric::Collective;
use crate::record::{CollectiveTime, FleetCollective, FleetNetwork, FleetRecord, load_fleet, write_atomically};
use crate::report::terminal::fleet_fit;
use crate::specs::Fabric;

/// What is made, and where it goes.
pub(super) struct FleetFitArgs<'a> {
    /// The fleet's document.
    pub(super) fleet: &'a Path,
    /// The file of the fabric.
    pub(super) output: Option<&'a Path>,
    /// Chips that the outermost tier joins.
    pub(super) chips: Option<u64>,
    /// JSON instead of tables.
    pub(super) json: bool,
}

/// Fits, prints and writes.
///
/// # Errors
/// [`Error::Input`] for a document without a network, or one whose pairs make no tiers.
pub(super) fn run(args: &FleetFitArgs<'_>) -> Result<(), Error> {
    let file = printable(&args.fleet.display().to_string(), 200);
    let fleet = load_fleet(args.fleet).map_err(|error| Error::Input(error.to_string()))?;
    let missing = || Error::Input(format!("{file}: it has no network; measure the fleet again, with its network"));
    let times = times(&fleet, fleet.network.as_ref().ok_or_else(missing)?);
    let stem = args.output.and_then(Path::file_stem).map_or("fleet".into(), |stem| stem.to_string_lossy());
    let name = printable(&stem, 60);
    let read = printable(&args.fleet.file_name().unwrap_or_default().to_string_lossy(), 80);
    let source = format!("`supernode fabric fit` on {} pairs of {read}", times.pairs.len());
    let fit =
        fit_fleet(&times, &name, &source, args.chips).map_err(|error| Error::Input(format!("{file}: {error}")))?;
    if let Some(path) = args.output {
        write(&fit, path)?;
    }
    if args.json {
        return print_json(&fit);
    }
    let mut text = fleet_fit::text(&fit);
    if let Some(path) = args.output {
        let _ = writeln!(text, "\nwrote {}: use it as --fabric {0}", path.display());
    }
    print(&text)
}

fn write(fit: &FleetFit, path: &Path) -> Result<(), Error> {
    let fail = |reason: String| Error::Input(format!("{}: {reason}", path.display()));
    let text = toml::to_string(&fit.fabric).map_err(|error| fail(error.to_string()))?;
    // What is written can be read.
    Fabric::parse(&path.display().to_string(), &text)?;
    write_atomically(path, text.as_bytes()).map_err(|error| fail(error.to_string()))
}

/// The times of a document as the fit reads them.
fn times(fleet: &FleetRecord, network: &FleetNetwork) -> FleetTimes {
    let ranks = fleet.plan.ranks;
    let computer = |rank: u32| fleet.rank(rank).map_or(fleet.hosts.len() + rank as usize, |rank| rank.host as usize);
    let pairs = network.pairs.iter().map(|pair| PairPoint {
        ranks: [pair.from as usize, pair.to as usize],
        bytes: pair.bytes as f64,
        time_s: pair.timing.median_s.get(),
        ci_s: pair.timing.ci95_s.map(|end| end.get()),
    });
    let collectives = network.collectives.iter().filter_map(|row| Some((row.first_rank as usize, bulk(row)?)));
    let exchanges = network.collectives.iter().filter_map(|row| {
        let name = match row.collective {
            FleetCollective::Dispatch => "dispatch",
            FleetCollective::Combine => "combine",
            _ => return None,
        };
        let (first_rank, ranks) = (row.first_rank as usize, row.ranks as usize);
        Some(ExchangeTime { name, first_rank, ranks, bytes: row.bytes as f64, time_s: row.timing.median_s.get() })
    });
    FleetTimes {
        ranks: ranks as usize,
        computers: (0..ranks).map(computer).collect(),
        pairs: pairs.collect(),
        collectives: collectives.collect(),
        exchanges: exchanges.collect(),
    }
}

/// A collective that is no exchange of tokens.
fn bulk(row: &CollectiveTime) -> Option<Measured> {
    let collective = match row.collective {
        FleetCollective::AllReduce => Collective::AllReduce,
        FleetCollective::AllGather => Collective::AllGather,
        FleetCollective::ReduceScatter => Collective::ReduceScatter,
        FleetCollective::Dispatch | FleetCollective::Combine => return None,
    };
    Some(Measured { collective, ranks: row.ranks as usize, bytes: row.bytes as f64, time_s: row.timing.median_s.get() })
}
