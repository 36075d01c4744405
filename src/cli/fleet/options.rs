//! Flags of a run over MPI.

use std::path::PathBuf;

use crate::cli::parse;
use crate::cli::selection::SelectionArgs;
use crate::measure::gpu::Backend;
use crate::record::{Preset, Selection, Tool};

/// Cases that are measured alone by default: decode attention, which memory bounds, and prefill attention, which arithmetic
/// does.
pub(super) const ALONE: [&str; 2] = ["attention/mla_decode/", "attention/mla_prefill/"];

/// What a run over MPI is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RunArgs {
    /// Set of shapes [default: quick; smoke where a device is a software adapter]
    #[arg(long)]
    pub(super) preset: Option<Preset>,
    /// Only cases whose id contains this (may be repeated)
    #[arg(long, value_name = "PART")]
    pub(super) only: Vec<String>,
    /// Seed of all inputs
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Where to write the fleet document; the ranks' journals go into a folder beside it, with the ending .ranks
    #[arg(long, short, value_name = "FILE", default_value = "out/fleet.json")]
    pub(super) output: PathBuf,
    /// Go on with what the ranks have left
    #[arg(long)]
    pub(super) resume: bool,
    /// Let the ranks of a computer take its devices in turn where there are fewer devices than ranks
    #[arg(long)]
    pub(super) share_devices: bool,
    /// Only devices whose name contains this
    #[arg(long, value_name = "NAME")]
    pub(super) adapter: Option<String>,
    /// Only adapters of this API
    #[arg(long)]
    pub(super) backend: Option<Backend>,
    /// Keep wgpu's bounds and loop checks in the shaders (slower; the records say so)
    #[arg(long)]
    pub(super) runtime_checks: bool,
    #[command(flatten)]
    variants: SelectionArgs,
    /// Measure cases whose id contains this also while no neighbour measures [default: attention of DeepSeek-V3]
    #[arg(long, value_name = "PART", conflicts_with = "no_alone")]
    pub(super) alone: Vec<String>,
    /// Measure nothing without its neighbours
    #[arg(long)]
    pub(super) no_alone: bool,
    /// Do not measure the network
    #[arg(long)]
    pub(super) no_network: bool,
    /// The largest message or buffer in bytes
    #[arg(long, value_name = "BYTES", default_value = "8388608", value_parser = parse::bytes)]
    pub(super) largest_message: f64,
    /// The model whose tokens dispatch and combine send
    #[arg(long, value_name = "NAME|FILE", default_value = "deepseek-v3")]
    pub(super) model: String,
    /// For tests: the times of a rank are multiplied by a factor, and the document says so
    #[arg(long, hide = true, value_name = "RANK:FACTOR", value_parser = slow)]
    pub(super) inject_slow: Option<(u32, f64)>,
    /// For tests: what a rank receives in a transfer is wrong
    #[arg(long, hide = true, value_name = "RANK")]
    pub(super) inject_wrong: Option<u32>,
}

/// `RANK:FACTOR`.
fn slow(text: &str) -> Result<(u32, f64), String> {
    let (rank, factor) = text.split_once(':').ok_or("give RANK:FACTOR, e.g. 2:1.5")?;
    let rank = rank.parse().map_err(|_| "the rank is no number".to_owned())?;
    Ok((rank, parse::number(factor, 1.0, 100.0)?))
}

impl RunArgs {
    /// What has to be the same on all ranks, by the flag that sets it.
    pub(super) fn common(&self) -> serde_json::Value {
        let tool = Tool::this();
        serde_json::json!({
            "version": tool.version,
            "commit": tool.git_commit,
            "--preset": self.preset,
            "--only": self.only,
            "--seed": self.seed,
            "--output": self.output,
            "--resume": self.resume,
            "--share-devices": self.share_devices,
            "--adapter": self.adapter,
            "--backend": self.backend.map(|backend| format!("{backend:?}")),
            "--runtime-checks": self.runtime_checks,
            "selection of variants": self.selection(),
            "--alone": self.alone,
            "--no-alone": self.no_alone,
            "--no-network": self.no_network,
            "--largest-message": self.largest_message,
            "--model": self.model,
            "--inject-slow": self.inject_slow,
            "--inject-wrong": self.inject_wrong,
        })
    }

    /// Which variants are timed in full.
    pub(super) fn selection(&self) -> Selection {
        self.variants.selection()
    }
}
