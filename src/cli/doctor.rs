//! `supernode doctor`: which GPU would be used, and if none, why and what to do.

mod advice;
mod linux;
mod windows;

use std::fmt::Write as _;

use serde::Serialize;

use super::{Error, print};

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

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Note,
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    state: State,
    what: String,
    found: String,
}

impl Check {
    fn new(state: State, what: &str, found: impl Into<String>) -> Self {
        Self { state, what: what.to_owned(), found: found.into() }
    }
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Diagnosis {
    /// Whether a GPU that is no software adapter can be used.
    gpu: bool,
    checks: Vec<Check>,
    /// What to do, most likely first.
    advice: Vec<String>,
}

/// What is known of the adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Adapters {
    /// Built without the feature `gpu`.
    #[cfg_attr(all(feature = "gpu", not(test)), expect(dead_code, reason = "of the other build"))]
    NotBuilt,
    None,
    SoftwareOnly,
    Gpu,
}

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let diagnosis = diagnose();
    if args.json {
        super::print_json(&diagnosis)?;
    } else {
        print(&text(&diagnosis))?;
    }
    if diagnosis.gpu {
        return Ok(());
    }
    Err(Error::Negative("no GPU can be used; see the advice".to_owned()))
}

fn diagnose() -> Diagnosis {
    let (adapters, backends, mut checks) = adapters();
    if cfg!(all(windows, feature = "gpu")) {
        checks.push(windows::direct3d(&backends, &windows::folders()));
    }
    let machine = linux::Machine::this();
    let facts = if cfg!(target_os = "linux") { linux::look(&machine) } else { linux::Facts::default() };
    checks.extend(facts.checks.iter().cloned());
    Diagnosis { gpu: adapters == Adapters::Gpu, advice: advice::on(adapters, &facts, std::env::consts::OS), checks }
}

/// What there is, the APIs of those that are no software adapters, and a check for each.
#[cfg(feature = "gpu")]
fn adapters() -> (Adapters, Vec<String>, Vec<Check>) {
    use crate::record::DeviceType;
    let listed = crate::measure::gpu::list(None);
    let mut checks = Vec::new();
    for adapter in &listed {
        let device = &adapter.device;
        let software = device.device_type == DeviceType::Software;
        let kind = if software { ", a software adapter: a CPU that poses as a GPU" } else { "" };
        let state = if software { State::Note } else { State::Ok };
        let bus = device.pci_bus_id.as_ref().map_or(String::new(), |id| format!(", PCI {id}"));
        let found =
            format!("{} ({}, {} {}{bus}){kind}", device.name, device.backend, device.driver, device.driver_info);
        checks.push(Check::new(state, "adapter", crate::printable::printable(&found, 200)));
    }
    if checks.is_empty() {
        checks.push(Check::new(State::Problem, "adapter", "none: no driver offers a device with compute shaders"));
        return (Adapters::None, Vec::new(), checks);
    }
    let hardware = listed.iter().filter(|adapter| adapter.device.device_type != DeviceType::Software);
    let backends: Vec<String> = hardware.map(|adapter| adapter.device.backend.clone()).collect();
    (if backends.is_empty() { Adapters::SoftwareOnly } else { Adapters::Gpu }, backends, checks)
}

#[cfg(not(feature = "gpu"))]
fn adapters() -> (Adapters, Vec<String>, Vec<Check>) {
    let found = "built without the feature `gpu`: it projects, compares and reports, but sees no adapter";
    (Adapters::NotBuilt, Vec::new(), vec![Check::new(State::Problem, "this program", found)])
}

fn text(diagnosis: &Diagnosis) -> String {
    let mut out = String::new();
    let width = diagnosis.checks.iter().map(|check| check.what.chars().count()).max().unwrap_or(0);
    for check in &diagnosis.checks {
        let mark = match check.state {
            State::Ok => "ok  ",
            State::Note => "note",
            State::Problem => "NO  ",
        };
        let _ = writeln!(out, "{mark}  {:width$}  {}", check.what, check.found);
    }
    if !diagnosis.advice.is_empty() {
        out.push_str("\nWhat to do\n");
        for (i, advice) in diagnosis.advice.iter().enumerate() {
            let mut lines = advice.lines();
            let _ = writeln!(out, "  {}. {}", i + 1, lines.next().unwrap_or_default());
            for line in lines {
                let _ = writeln!(out, "     {line}");
            }
        }
    }
    out
}
