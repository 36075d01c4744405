//! supernode-bench's kernels as the compilers of GPUs see them that are not there.

mod adreno;
mod amd;
mod apple;
mod assembly;
mod cost;
mod file;
mod ggml;
mod nvidia;
mod pipelines;
mod row;
mod tables;
mod translate;
mod vulkan;
mod watch;
mod worker;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use sha2::{Digest as _, Sha256};

use crate::row::Document;

/// Compiles the kernels of supernode-bench for GPUs that are not there.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile every pipeline on a device of tests/current-mesa/run.sh and write the rows as JSON.
    Compile {
        /// The device's name there.
        device: String,
        /// Where run.sh is.
        #[arg(long, default_value = "tests/current-mesa/run.sh")]
        run: PathBuf,
        /// The file to write.
        #[arg(long)]
        output: PathBuf,
        /// Seconds after which a pipeline is given up.
        #[arg(long, default_value_t = 20)]
        limit_s: u64,
        /// Compile ggml's kernels instead: the folder of its shaders.
        #[arg(long)]
        ggml: Option<PathBuf>,
        /// The command of glslc, in words.
        #[arg(long, default_value = "glslc", value_delimiter = ' ')]
        glslc: Vec<String>,
    },
    /// Read the results and write what follows from them: the costs of variants, and the tables of the document.
    Write {
        /// The folder with a file for each device, and `ggml-` before those of ggml's kernels.
        #[arg(long, default_value = "lab/results")]
        results: PathBuf,
        /// Where the order of variants comes from.
        #[arg(long, default_value = "specs/compilers.json")]
        costs: PathBuf,
        /// The document with the tables.
        #[arg(long, default_value = "docs/KERNELS.md")]
        document: PathBuf,
    },
    /// Compile one WGSL file on the device of this process (see run.sh), and print all that the driver says.
    File(file::File),
    /// The part of `compile` that runs inside the driver's process.
    #[command(hide = true)]
    Worker {
        /// The first pipeline.
        #[arg(long)]
        first: usize,
        /// ggml's kernels, as `compile` has prepared them.
        #[arg(long)]
        list: Option<PathBuf>,
    },
}

fn main() -> Result<()> {
    match Args::parse().command {
        Command::Compile { device, run, output, limit_s, ggml, glslc } => {
            let began = Instant::now();
            let folder = tempfile::tempdir()?;
            let list = ggml.map(|sources| ggml::prepare(&sources, &glslc, folder.path())).transpose()?;
            let document = watch::document(&run, &device, Duration::from_secs(limit_s), list.as_deref())?;
            std::fs::write(&output, document.json()?)?;
            let done = document.pipelines.iter().filter(|row| row.figures.is_some()).count();
            let all = document.pipelines.len();
            writeln!(
                std::io::stderr(),
                "{device}: {done} of {all} pipelines in {:.0} s",
                began.elapsed().as_secs_f64()
            )?;
            Ok(())
        }
        Command::Write { results, costs, document } => write(&results, &costs, &document),
        Command::File(file) => file::run(&file),
        Command::Worker { first, list } => worker::run(first, list.as_deref()),
    }
}

fn write(results: &Path, costs: &Path, document: &Path) -> Result<()> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(results)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let (mut ours, mut ggml, mut hash) = (Vec::new(), Vec::new(), Sha256::new());
    for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
        let bytes = std::fs::read(path)?;
        hash.update(&bytes);
        let parsed: Document = serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
        let is_ggml = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ggml-"));
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if is_ggml { ggml.push((name, parsed)) } else { ours.push((name, parsed)) }
    }
    std::fs::write(costs, cost::file(&ours)?)?;
    let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let text = std::fs::read_to_string(document)?;
    std::fs::write(document, tables::replaced(&text, &ours, &ggml, &hash)?)?;
    Ok(())
}
