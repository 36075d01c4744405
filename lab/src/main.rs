//! supernode-bench's kernels as the compilers of GPUs see them that are not there.

mod adreno;
mod amd;
mod apple;
mod assembly;
mod file;
mod nvidia;
mod pipelines;
mod row;
mod translate;
mod vulkan;
mod watch;
mod worker;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};

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
    },
    /// Compile one WGSL file on the device of this process (see run.sh), and print all that the driver says.
    File(file::File),
    /// The part of `compile` that runs inside the driver's process.
    #[command(hide = true)]
    Worker {
        /// The first pipeline.
        #[arg(long)]
        first: usize,
    },
}

fn main() -> Result<()> {
    match Args::parse().command {
        Command::Compile { device, run, output, limit_s } => {
            let began = Instant::now();
            let document = watch::document(&run, &device, Duration::from_secs(limit_s))?;
            let mut text = format!("{{\"device\":{},\n\"pipelines\":[\n", serde_json::to_string(&document.device)?);
            let rows: Result<Vec<String>, _> = document.pipelines.iter().map(serde_json::to_string).collect();
            // One line for each pipeline, so that a difference shows.
            text += &rows?.join(",\n");
            text += "\n]}\n";
            std::fs::write(&output, text)?;
            let done = document.pipelines.iter().filter(|row| row.figures.is_some()).count();
            let all = document.pipelines.len();
            writeln!(std::io::stderr(), "{device}: {done} of {all} pipelines in {:.0} s", began.elapsed().as_secs_f64())?;
            Ok(())
        }
        Command::File(file) => file::run(&file),
        Command::Worker { first } => worker::run(first),
    }
}
