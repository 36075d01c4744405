//! `supernode sweep`: a grid of questions, resumable and sharded.

mod csv;
mod format;
mod identity;
mod merge;
mod output;
#[cfg(feature = "parquet")]
mod parquet;
mod shard;
mod table;
mod whole;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::cli::error::Error;
use crate::cli::expert_load::ExpertLoadFlag;
use crate::cli::interrupt::interrupt_flag;
use crate::cli::output::print;
use crate::cli::progress::{Progress, Shown, note};
use crate::cli::question::measured;
use crate::projection::catalogue::{Catalogue, Defaults, MEASURED};
use crate::projection::model_table::DEFAULT_CHIP;
use crate::projection::sweep::{SweepRow, row, shard};
use crate::specs::Grid;
use format::SweepFormat;
use identity::SweepIdentity;
use output::Sink;
use shard::Shard;

const EXAMPLES: &str = "\
Examples:
  supernode sweep sweep.toml -o sweep.jsonl
  supernode sweep sweep.toml -o sweep.jsonl --resume            go on where a run stopped, even inside a line
  supernode sweep sweep.toml -o part.parquet                    a task of a job array of Slurm: writes part-003-of-004.parquet
  supernode sweep sweep.toml -o part-3.parquet --shard 3/4      the same by hand, or by GNU parallel
  supernode sweep merge part-*.parquet -o all.parquet           all shards as one file, checked
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
[[grid]] tables add grids that share the keys outside them.

In a job array of Slurm (--array=1-N), task i computes shard i/N, goes on where it stopped, and does nothing when it is
done. --shard 1/1 computes the whole grid there.";

/// Answer a grid of questions; one line or row each
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<SweepCommand>,
    #[command(flatten)]
    sweep: SweepArgs,
}

#[derive(Debug, clap::Subcommand)]
enum SweepCommand {
    Merge(merge::Args),
}

#[derive(Debug, clap::Args)]
struct SweepArgs {
    /// The grid
    // Optional for clap alone, since a subcommand goes without it.
    #[arg(value_name = "SPEC.toml", required = true)]
    spec: Option<PathBuf>,
    /// Where to write [default: JSON Lines to standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The format of the output [default: by the file's extension, else jsonl]
    #[arg(long, value_enum)]
    format: Option<SweepFormat>,
    /// Keep what the output has already, and compute the rest
    #[arg(long, requires = "output")]
    resume: bool,
    /// Compute only the i-th of n blocks of points, counted from 1 [default: the task's in a job array of Slurm, else 1/1]
    #[arg(long, value_name = "i/n")]
    shard: Option<Shard>,
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

/// Which part is computed, and where it goes.
struct Task {
    shard: Shard,
    output: Option<PathBuf>,
    resume: bool,
}

impl Task {
    /// As the flags say, or the job array that this process is a task of. Slurm runs a task again after a node has failed,
    /// so a task goes on by itself.
    fn of(args: &SweepArgs) -> Result<Self, Error> {
        let by_flag =
            Self { shard: args.shard.unwrap_or(Shard::WHOLE), output: args.output.clone(), resume: args.resume };
        if args.shard.is_some() {
            return Ok(by_flag);
        }
        let Some(shard) = Shard::of_job_array(|name| std::env::var(name).ok()).map_err(Error::Input)? else {
            return Ok(by_flag);
        };
        let output = args.output.as_deref().map(|given| shard.output(given));
        let into = output.as_ref().map_or(String::new(), |path| format!(", into {}", path.display()));
        note(&format!("shard {shard}, as this is a task of a job array of Slurm{into}"));
        Ok(Self { shard, resume: args.resume || output.is_some(), output })
    }
}

/// Computes the points that the output lacks, in order.
///
/// # Errors
/// [`Error::Input`] for a bad spec or an output that is not this sweep's; [`Error::Interrupted`] after Ctrl-C: the output
/// then holds whole rows and `--resume` goes on.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    match (&args.command, &args.sweep.spec) {
        (Some(SweepCommand::Merge(args)), _) => merge::run(args),
        (None, Some(spec)) => sweep(&args.sweep, spec),
        (None, None) => Err(Error::Input("give SPEC.toml, or merge".to_owned())),
    }
}

fn sweep(args: &SweepArgs, spec: &Path) -> Result<(), Error> {
    let file = spec.display().to_string();
    let grid = Grid::load(spec).map_err(|error| Error::Input(error.to_string()))?;
    let chip = args.record.as_deref().map(measured).transpose()?;
    let chip_name = if chip.is_some() { MEASURED } else { DEFAULT_CHIP };
    let defaults = Defaults { chip: chip_name, fabric: "cloudmatrix384", chips: 384 };
    let mut catalogue =
        Catalogue::load(&file, &grid, defaults, chip.as_ref()).map_err(|error| Error::Input(error.to_string()))?;
    catalogue.set_expert_load(|model| args.expert_load.of(model))?;
    let task = Task::of(args)?;
    let range = shard(grid.len(), task.shard.number, task.shard.count);
    let points = range.end - range.start;
    if args.dry_run {
        return print(&format!("{} points, {points} in shard {}\n", grid.len(), task.shard));
    }
    let interrupted = interrupt_flag()?;
    let begin = Instant::now();
    let identity = SweepIdentity::new(&grid, &catalogue, defaults, task.shard, &range);
    let mut sink = Sink::open(task.output.as_deref(), args.format, task.resume, &grid, &identity)?;
    let left: Vec<u64> = range.filter(|index| !sink.has(*index)).collect();
    let already = points - left.len() as u64;
    let progress = Progress::new(left.len(), Shown::UnlessQuiet);
    match (already, &task.output) {
        (1.., Some(path)) if left.is_empty() => {
            progress.line(&format!("{} has all {points} points already: nothing to do", path.display()));
        }
        (1.., _) => progress.line(&format!("{already} of {points} points are there already")),
        (0, _) => {}
    }
    let outcome = compute(&grid, &catalogue, defaults, &left, interrupted, |row| {
        progress.step_silently();
        sink.write(&row)
    });
    progress.finish();
    let written = outcome?;
    if written < left.len() {
        let done = already + written as u64;
        return Err(Error::Interrupted(format!("interrupted after {done} of {points} points{}", sink.advice())));
    }
    sink.finish()?;
    if task.output.is_some() && written > 0 {
        note(&rate(written, begin.elapsed()));
    }
    Ok(())
}

/// How fast points were computed and written.
fn rate(points: usize, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let per_thread = points as f64 / seconds / rayon::current_num_threads() as f64;
    format!("{points} points in {seconds:.1} s: {per_thread:.1} per second and thread")
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
