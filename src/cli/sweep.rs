//! `supernode sweep`: a grid of questions, resumable and sharded.

mod csv;
mod output;
#[cfg(feature = "parquet")]
mod parquet;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use rayon::prelude::*;

use crate::cli::error::Error;
use crate::cli::expert_load::ExpertLoadFlag;
use crate::cli::interrupt::interrupt_flag;
use crate::cli::output::print;
use crate::cli::progress::{Progress, Shown};
use crate::cli::question::measured;
use crate::projection::catalogue::{Catalogue, Defaults, MEASURED};
use crate::projection::model_table::DEFAULT_CHIP;
use crate::projection::sweep::{SweepRow, row, shard};
use crate::specs::Grid;
use output::{Sink, SweepFormat};

const EXAMPLES: &str = "\
Examples:
  supernode sweep sweep.toml -o sweep.jsonl
  supernode sweep sweep.toml -o sweep.jsonl --resume            go on where a run stopped, even inside a line
  supernode sweep sweep.toml -o part-$TASK.jsonl --shard $TASK/100    one task of a job array; then: cat part-*.jsonl
  supernode sweep sweep.toml -o sweep.csv                       a table: a column for each figure, named by its path
  supernode sweep sweep.toml | jq 'select(.speedup > 2)'

A spec is TOML; each key has one value, a list, or { from, to, count, spacing = \"log\" }:
  model = [\"deepseek-v3\", \"qwen3-235b-a22b\"]
  phase = \"decode\"
  fabric = [\"cloudmatrix384\", \"roce-cluster\"]       # also: chip, baseline, chips, type
  chips = [96, 192, 384]
  workload.kv_len = [4096, 16384]                     # also: prompt_len, chunk_tokens, tpot_limit_ms, mtp, ...
  plan.ep = [32, 96]                                  # also: tp, pp, moe_tp, dp, cp, dcp, batch_per_chip, ...
  # phase = \"serving\" has workload.concurrency, request_rate, ttft_limit_ms, length_spread, prefix_cache, and plan.mode,
  # plan.prefill_workers, prefill_tp, prefill_dp, prefill_ep and the same of decode_
  [set]                                               # any key of a chip or fabric file
  chip.memory.bandwidth_bytes_per_s = { from = 1.6e12, to = 6.4e12, count = 3, spacing = \"log\" }
  fabric.tiers.supernode.latency_s = [200e-9, 1.9e-6]
[[grid]] tables add grids that share the keys outside them.";

/// Answer a grid of questions; one line or row each
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The grid
    #[arg(value_name = "SPEC.toml")]
    spec: PathBuf,
    /// Where to write [default: JSON Lines to standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The format of the output [default: by the file's extension, else jsonl]
    #[arg(long, value_enum)]
    format: Option<SweepFormat>,
    /// Keep what the output has already, and compute the rest
    #[arg(long, requires = "output")]
    resume: bool,
    /// Compute only the i-th of n blocks of points, counted from 1
    #[arg(long, value_name = "i/n", default_value = "1/1")]
    shard: Shard,
    /// A record: its device is the chip `measured`, and the default
    #[arg(long, value_name = "RECORD.json")]
    record: Option<PathBuf>,
    /// How tokens spread over the experts
    ///
    /// replicated   uneven, as in real traffic, with hot experts replicated
    /// uniform      every expert has the same share
    /// power:ALPHA  expert i has a share proportional to i^-ALPHA
    /// FILE         a JSON list of visits per expert, or a result document with a gating case over as many experts
    #[arg(long, value_name = "LOAD", default_value = "replicated", verbatim_doc_comment, value_parser = ExpertLoadFlag::parse)]
    expert_load: ExpertLoadFlag,
    /// Only say how many points there are
    #[arg(long)]
    dry_run: bool,
}

/// Part `number` of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shard {
    number: u32,
    count: u32,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)));
        match parts {
            Some((number, count)) if (1..=count).contains(&number) => Ok(Self { number, count }),
            _ => Err("give i/n with i from 1 to n, e.g. 3/16".to_owned()),
        }
    }
}

/// Computes the points that the output lacks, in order.
///
/// # Errors
/// [`Error::Input`] for a bad spec or an output that is not this sweep's; [`Error::Interrupted`] after Ctrl-C: the output
/// then holds whole rows and `--resume` goes on.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let file = args.spec.display().to_string();
    let grid = Grid::load(&args.spec).map_err(|error| Error::Input(error.to_string()))?;
    let chip = args.record.as_deref().map(measured).transpose()?;
    let chip_name = if chip.is_some() { MEASURED } else { DEFAULT_CHIP };
    let defaults = Defaults { chip: chip_name, fabric: "cloudmatrix384", chips: 384 };
    let mut catalogue =
        Catalogue::load(&file, &grid, defaults, chip.as_ref()).map_err(|error| Error::Input(error.to_string()))?;
    catalogue.set_expert_load(|model| args.expert_load.of(model))?;
    let range = shard(grid.len(), args.shard.number, args.shard.count);
    if args.dry_run {
        let text = format!(
            "{} points, {} in shard {}/{}\n",
            grid.len(),
            range.end - range.start,
            args.shard.number,
            args.shard.count
        );
        return print(&text);
    }
    let interrupted = interrupt_flag()?;
    let mut sink = Sink::open(args.output.as_deref(), args.format, args.resume, &grid, &range)?;
    let left: Vec<u64> = range.clone().filter(|index| !sink.has(*index)).collect();
    let already = (range.end - range.start) - left.len() as u64;
    let progress = Progress::new(left.len(), Shown::UnlessQuiet);
    if already > 0 {
        progress.line(&format!("{already} of {} points are there already", range.end - range.start));
    }
    let outcome = compute(&grid, &catalogue, defaults, &left, interrupted, |row| {
        progress.step_silently();
        sink.write(&row)
    });
    progress.finish();
    let written = outcome?;
    if written < left.len() {
        let total = range.end - range.start;
        let done = already + written as u64;
        return Err(Error::Interrupted(format!("interrupted after {done} of {total} points{}", sink.advice())));
    }
    sink.finish()
}

/// Rows of the points in their order, computed on all cores; how many were taken. Points are handed out one by one, so
/// that few finished rows wait for a slow one before them.
fn compute(
    grid: &Grid,
    catalogue: &Catalogue,
    defaults: Defaults<'_>,
    points: &[u64],
    interrupted: &AtomicBool,
    mut take: impl FnMut(SweepRow) -> Result<(), Error>,
) -> Result<usize, Error> {
    let (send, receive) = mpsc::sync_channel(1024);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            points.iter().copied().enumerate().par_bridge().for_each_with(send, |send, (place, index)| {
                let ended = stop.load(Ordering::Relaxed) || interrupted.load(Ordering::Relaxed);
                if let Some(point) = grid.point(index).filter(|_| !ended) {
                    // The receiver is gone only after an error, which it reports.
                    let _ = send.send((place, row(catalogue, index, point, defaults)));
                }
            });
        });
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        for (place, row) in receive {
            waiting.insert(place, row);
            while let Some(row) = waiting.remove(&next) {
                if let Err(error) = take(row) {
                    stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
                next += 1;
            }
        }
        Ok(next)
    })
}
