//! supernode-bench's kernels side by side with burn's, in one process on one adapter, interleaved.

mod answer;
mod case;
mod child;
mod duel;
mod lap;
mod ours;
mod table;
mod theirs;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde::Serialize;
use supernode_bench::measure::gpu::{self, AdapterChoice};
use supernode_bench::record::DeviceType;

use case::Shapes;
use child::Ended;

/// supernode-bench's kernels side by side with burn's on one adapter
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit code 1 when a case did not go through.\n\nExamples:\n  supernode-peers\n  supernode-peers --only matmul --pairs 15 -o peers.json\n  supernode-peers --type f16 --shapes large"
)]
struct Args {
    /// Only cases whose name contains this (may be repeated)
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Pairs of laps, ours and theirs in turn
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Storage type: f32 or f16
    #[arg(long = "type", default_value = "f32", value_parser = ["f32", "f16"])]
    element: String,
    /// List of shapes; from the kind of adapter when not given
    #[arg(long)]
    shapes: Option<Shapes>,
    /// Index or part of the name of the adapter
    #[arg(long)]
    adapter: Option<String>,
    /// Seconds that one case may take, its tuning included
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..))]
    limit_s: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write the JSON to this file as well
    #[arg(short, long, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
    /// One case, in this process
    #[arg(long, hide = true)]
    child: Option<String>,
}

/// The document of `--json`.
#[derive(Debug, Serialize)]
struct Document {
    /// Versions of both sides and what they stand on.
    versions: std::collections::BTreeMap<&'static str, String>,
    /// How burn compiles its kernels on Vulkan.
    burn_compiler: &'static str,
    /// Storage type.
    element: String,
    /// All cases.
    cases: Vec<Ended>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let selection = AdapterChoice { adapter: args.adapter.clone(), backend: None };
    if let Some(name) = &args.child {
        let Some(case) = case::find(name) else { bail!("--child {name}: no such case") };
        let options = duel::Options { selection, element: duel::element(&args.element)?, pairs: args.pairs };
        duel::run(case, &options, |progress| {
            if let Ok(line) = serde_json::to_string(progress) {
                // The parent has gone if this fails, and then nobody reads it.
                let _ = writeln!(std::io::stdout(), "{line}");
            }
        })?;
        return Ok(true);
    }
    let software = gpu::select(&selection)?.device.device_type == DeviceType::Software;
    let shapes = args.shapes.unwrap_or(if software { Shapes::Small } else { Shapes::Large });
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|part| name.contains(part.as_str()));
    let cases: Vec<_> = shapes.cases().iter().copied().filter(|case| wanted(case.name)).collect();
    if cases.is_empty() {
        bail!("--only {}: no case's name contains this", args.only.join(" "));
    }
    let mut arguments = vec![format!("--type={}", args.element), format!("--pairs={}", args.pairs)];
    arguments.extend(args.adapter.iter().map(|adapter| format!("--adapter={adapter}")));
    let mut ended = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        if std::io::stderr().is_terminal() || !args.json {
            eprintln!("{} of {}: {}", index + 1, cases.len(), case.name);
        }
        ended.push(child::run(*case, &arguments, Duration::from_secs(args.limit_s))?);
    }
    let good = ended.iter().all(|ended| ended.problem.is_none());
    print(args, ended)?;
    Ok(good)
}

fn print(args: &Args, cases: Vec<Ended>) -> Result<()> {
    let versions = versions();
    let burn_compiler = if cfg!(feature = "spirv") { "SPIR-V where the adapter takes it" } else { "WGSL" };
    let document = Document { versions, burn_compiler, element: args.element.clone(), cases };
    if let Some(path) = &args.output {
        let mut text = serde_json::to_string_pretty(&document)?;
        text.push('\n');
        std::fs::write(path, text).with_context(|| format!("--output {}", path.display()))?;
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &document)?;
        writeln!(out)?;
        return Ok(());
    }
    let Document { versions, cases, .. } = document;
    write!(out, "{}", table::table(&cases))?;
    if let Some(device) = cases.iter().find_map(|ended| ended.progress.device.as_ref()) {
        writeln!(
            out,
            "{} ({}, {}), {}, {} pairs",
            device.name, device.driver, device.backend, args.element, args.pairs
        )?;
    }
    let roof = lap::median(cases.iter().filter_map(|ended| ended.progress.fma_flop_per_s));
    writeln!(out, "f32 multiply-add roof on the deciding clock: {:.1} GFLOP/s (median over the cases)", roof / 1e9)?;
    let list: Vec<String> = versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    writeln!(out, "{}; burn compiles to {burn_compiler}", list.join(", "))?;
    Ok(())
}

/// The versions that this program was built with, from its lock file.
fn versions() -> std::collections::BTreeMap<&'static str, String> {
    let lock = include_str!("../Cargo.lock");
    ["supernode-bench", "burn-tensor", "cubecl", "cubek", "wgpu", "naga"]
        .into_iter()
        .filter_map(|name| {
            let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("\nname = \"{name}\"\n")))?;
            let version = entry.lines().find_map(|line| line.strip_prefix("version = "))?;
            Some((name, version.trim_matches('"').to_owned()))
        })
        .collect()
}
