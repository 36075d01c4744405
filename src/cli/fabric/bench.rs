//! `supernode fabric bench`: collectives on a fabric, as a table, a plot, JSON or a trace.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::error::Error;
use crate::cli::fabric::options::{self, CollectiveFlag, ModeFlag, PayloadFlag, PlacementFlag};
use crate::cli::output::{print, print_json};
use crate::cli::{parse, progress};
use crate::files::replace_with;
use crate::projection::ExpertLoad;
use crate::projection::fabric::Mode;
use crate::projection::fabric::exchange::{
    Answer, Bulk, Direction, Exchange, ExchangeError, Payload, Site, bulk, exchange, flows,
};
use crate::projection::fabric::faults::FabricFault;
use crate::projection::fabric::flows::{Fairness, run as run_flows};
use crate::projection::fabric::placement::Experts;
use crate::projection::fabric::trace::trace;
use crate::report::terminal::fabric as tables;
use crate::specs::{Chip, Fabric, Scenario, Sourced};
use crate::units::Bytes;

const MOST_TRACED_RANKS: usize = 1024;
const MOST_EXPERTS: u32 = 1 << 20;

/// Time of collectives on one or several fabrics by number of ranks.
///
/// Ranks are what the fabric's published tables count: dies on CloudMatrix (EP 320 is 160 chips), chips elsewhere.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A fabric's name or the path of its TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = "cloudmatrix384")]
    fabric: String,
    /// Further fabrics to compare with it
    #[arg(long, value_name = "NAME|FILE", value_delimiter = ',')]
    compare: Vec<String>,
    /// The collective
    #[arg(long, value_enum, default_value = "dispatch")]
    op: CollectiveFlag,
    /// Numbers of ranks
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "8,16,32,64,128,256",
          value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    ep: Vec<u32>,
    /// Tokens of a rank
    #[arg(long, value_name = "N", default_value = "128", value_parser = parse::count)]
    tokens: f64,
    /// Elements of a token
    #[arg(long, value_name = "N", default_value = "7168", value_parser = parse::count)]
    hidden: f64,
    /// Experts of a token
    #[arg(long, value_name = "K", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    top_k: u32,
    /// Routed experts; must divide over the ranks with the redundant ones [default: 256, or the next multiple of the ranks]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_EXPERTS)))]
    experts: Option<u32>,
    /// Further expert slots for replicas
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_EXPERTS)))]
    redundant_experts: Option<u32>,
    /// Where experts live: in order, or balanced over the ranks by load
    #[arg(long, value_enum, default_value = "in-order")]
    placement: PlacementFlag,
    /// How tokens are spread over experts: uniform, power:EXPONENT, a JSON file of token counts by expert, or a
    /// result document, whose gating case over this many experts is taken
    #[arg(long, value_name = "LOAD", default_value = "uniform")]
    load: String,
    /// Order of the experts under a power law
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Kernels for few or for many tokens
    #[arg(long, value_enum, default_value = "low-latency")]
    mode: ModeFlag,
    /// The most nodes of a token, where the router limits them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    most_nodes: Option<u32>,
    /// Elements on the way out [default: int8 where ranks are dies, else fp8]
    #[arg(long, value_enum)]
    dispatch_type: Option<PayloadFlag>,
    /// Elements on the way back
    #[arg(long, value_enum, default_value = "bf16")]
    combine_type: PayloadFlag,
    /// Bytes of all-reduce and its kin [default: tokens x hidden x 2]
    #[arg(long, value_name = "BYTES", value_parser = parse::bytes)]
    bytes: Option<f64>,
    /// Something broken or slow, e.g. plane=3, link=12.3@0.5, switch=0.6, core-switch=2, node=5, rank=7
    #[arg(long, value_name = "FAULT")]
    fault: Vec<FabricFault>,
    /// Change a value of the fabrics, e.g. node.bandwidth=400e9
    #[arg(long, value_name = "TIER.KEY=VALUE")]
    set: Vec<String>,
    /// The chip whose links serve tiers without a bandwidth of their own
    #[arg(long, value_name = "NAME|FILE", default_value = "ascend-910c")]
    chip: String,
    /// Print JSON: a list of objects, one for each fabric and number of ranks
    #[arg(long)]
    json: bool,
    /// Run each flow of the last number of ranks on the first fabric and write a trace for Perfetto or Chrome
    #[arg(long, value_name = "FILE.json")]
    trace: Option<PathBuf>,
}

/// One line of the result.
#[derive(Debug, Serialize)]
struct BenchLine {
    op: &'static str,
    fabric: String,
    ep: u32,
    rank_unit: &'static str,
    /// At the other ends of the uncertain inputs.
    latency_low_s: f64,
    latency_high_s: f64,
    #[serde(flatten)]
    answer: Answer,
    faults: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let mut fabrics = Vec::new();
    for name in std::iter::once(&args.fabric).chain(&args.compare) {
        let mut fabric = Fabric::load(name)?;
        for assignment in &args.set {
            fabric.set(assignment)?;
        }
        fabrics.push(fabric);
    }
    let chip = Chip::load(&args.chip)?;
    let scale_up = &chip.links.scale_up_bytes_per_s;
    let (load, source) = options::load(&args.load, args.seed, args.experts).map_err(Error::Input)?;
    if let Some(source) = source {
        progress::note(&format!("token counts by expert: {source}"));
    }
    let mut lines = Vec::new();
    for fabric in &fabrics {
        for &ep in &args.ep {
            lines.push(line(args, fabric, scale_up, &load, ep)?);
        }
    }
    if let Some(path) = &args.trace {
        let (Some(fabric), Some(&ep)) = (fabrics.first(), args.ep.last()) else { return Ok(()) };
        write_trace(args, fabric, scale_up, &load, ep, path)?;
    }
    if args.json {
        return print_json(&lines);
    }
    let rows: Vec<_> = lines.iter().map(BenchLine::row).collect();
    print(&tables::collectives(args.op.name(), &rows))
}

impl BenchLine {
    fn row(&self) -> tables::CollectiveRow<'_> {
        tables::CollectiveRow {
            fabric: &self.fabric,
            ep: self.ep,
            unit: self.rank_unit,
            range_s: (self.latency_low_s, self.latency_high_s),
            answer: &self.answer,
            faults: &self.faults,
        }
    }
}

fn line(args: &Args, fabric: &Fabric, scale_up: &Sourced, load: &ExpertLoad, ep: u32) -> Result<BenchLine, Error> {
    let at = |scenario| {
        let site = Site { fabric, scale_up, scenario };
        match args.op.bulk() {
            None => exchange(&site, &exchange_of(args, fabric, load, ep), &args.fault),
            Some(collective) => {
                let bytes = Bytes::new(args.bytes.unwrap_or(args.tokens * args.hidden * 2.0));
                let asked = Bulk { collective, ranks: ep as usize, bytes, algorithm: None };
                bulk(&site, &asked, &args.fault)
            }
        }
        .map_err(|error| refused(fabric, ep, error))
    };
    Ok(BenchLine {
        op: args.op.name(),
        fabric: fabric.name.clone(),
        ep,
        rank_unit: fabric.rank_unit(),
        latency_low_s: at(Scenario::Optimistic)?.latency_s,
        latency_high_s: at(Scenario::Pessimistic)?.latency_s,
        answer: at(Scenario::Nominal)?,
        faults: args.fault.iter().map(ToString::to_string).collect(),
    })
}

fn refused(fabric: &Fabric, ep: u32, error: ExchangeError) -> Error {
    let text = format!("{}, --ep {ep}: {error}", fabric.name);
    if matches!(error, ExchangeError::CutOff { .. }) { Error::Negative(text) } else { Error::Input(text) }
}

fn exchange_of(args: &Args, fabric: &Fabric, load: &ExpertLoad, ep: u32) -> Exchange {
    let direction = if args.op == CollectiveFlag::Combine { Direction::Combine } else { Direction::Dispatch };
    let ranks = ep as usize;
    // A count that was asked for is taken at its word, and a histogram has its own; else as many as divide over the ranks.
    let default =
        if let ExpertLoad::Counted { visits, .. } = load { visits.len() } else { 256usize.next_multiple_of(ranks) };
    let experts = args.experts.map_or(default, |experts| experts as usize);
    let redundant = args.redundant_experts.unwrap_or(0) as usize;
    let out = if fabric.dies.is_some() { Payload::Int8 } else { Payload::Fp8 };
    Exchange {
        direction,
        mode: args.mode.into(),
        tokens: args.tokens,
        hidden: args.hidden,
        payload: match direction {
            Direction::Dispatch => args.dispatch_type.map_or(out, Into::into),
            Direction::Combine => args.combine_type.into(),
        },
        experts: Experts { experts, redundant, top_k: args.top_k as usize, ranks, placement: args.placement.into() },
        load: load.clone(),
        most_groups: args.most_nodes.map(f64::from),
    }
}

fn write_trace(
    args: &Args,
    fabric: &Fabric,
    scale_up: &Sourced,
    load: &ExpertLoad,
    ep: u32,
    path: &Path,
) -> Result<(), Error> {
    if args.op.bulk().is_some() {
        return Err(Error::Input(format!("--trace: only dispatch and combine have a trace, not {}", args.op.name())));
    }
    if ep as usize > MOST_TRACED_RANKS {
        return Err(Error::Input(format!(
            "--trace: {ep} ranks have too many flows; ask for at most {MOST_TRACED_RANKS}"
        )));
    }
    let site = Site { fabric, scale_up, scenario: Scenario::Nominal };
    let asked = Exchange { mode: Mode::LowLatency, ..exchange_of(args, fabric, load, ep) };
    let (network, list) = flows(&site, &asked, &args.fault).map_err(|error| refused(fabric, ep, error))?;
    let schedule = run_flows(&network, &list, Fairness::PerCopy).map_err(|cut| {
        Error::Negative(format!("{}, --ep {ep}: {} pairs of ranks are cut off", fabric.name, cut.pairs))
    })?;
    let title = format!("{} on {}, EP {ep}", args.op.name(), fabric.name);
    let (value, left_out) = trace(&title, fabric.rank_unit(), &list, &schedule);
    let fail = |error: String| Error::Input(format!("--trace {}: {error}", path.display()));
    let written = replace_with(path, |file| Ok(serde_json::to_writer(file, &value)?));
    written.map_err(|error| fail(error.to_string()))?;
    if left_out > 0 {
        progress::warning(&format!("{}: {left_out} flows that end earlier are left out", path.display()));
    }
    Ok(())
}
