//! `supernode doctor`: which GPU would be used, and if none, why and what to do.

mod adapters;
mod advice;
mod linux;
mod windows;

use crate::cli::error::Error;
use crate::cli::output::{print, print_json};
use crate::report::terminal::doctor::{self, Diagnosis};
use adapters::Adapters;

/// Explain which GPU is found, or why none is and what to install
///
/// Looks at what lies between this program and a GPU: the adapters that wgpu sees and, on Linux, the Vulkan loader, the
/// drivers' manifests, the devices on the PCI bus, the permissions of device files, containers and WSL; on Windows, the
/// compiler of Direct3D 12. Reads only.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 a GPU is found; 1 none is, or only a software adapter.\n\nExamples:\n  supernode doctor\n  supernode doctor --json"
)]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let diagnosis = diagnose();
    if args.json {
        print_json(&diagnosis)?;
    } else {
        print(&doctor::diagnosis(&diagnosis))?;
    }
    if diagnosis.gpu {
        return Ok(());
    }
    Err(Error::Negative("no GPU can be used; see the advice".to_owned()))
}

fn diagnose() -> Diagnosis {
    let (adapters, backends, mut checks) = adapters::look();
    if cfg!(all(windows, feature = "gpu")) {
        checks.push(windows::direct3d(&backends, &windows::folders()));
    }
    let computer = linux::Computer::this();
    let facts = if cfg!(target_os = "linux") { linux::look(&computer) } else { linux::Facts::default() };
    checks.extend(facts.checks.iter().cloned());
    Diagnosis { gpu: adapters == Adapters::Gpu, advice: advice::on(adapters, &facts, std::env::consts::OS), checks }
}
