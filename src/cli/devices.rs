//! `supernode devices`: the adapters.

use std::time::Instant;

use serde::Serialize;

use crate::cli::error::Error;
use crate::cli::output::{print, print_json};
use crate::measure::gpu::{self, AdapterReport, Backend, GpuError, Listed, OpenReport};
use crate::measure::host;
use crate::record::{Device, Host, Tool};
use crate::report::terminal::devices::{self, LIST_COLUMNS};
use crate::units::Seconds;

/// List the adapters that kernels can run on, best first
#[derive(Debug, clap::Args)]
#[command(
    after_help = "--json opens each adapter, runs one small launch on it, and prints what a bug report needs. An index, a PCI address or part of a name chooses an adapter with --adapter.\n\nExamples:\n  supernode devices\n  supernode devices --json > devices.json"
)]
pub(super) struct Args {
    /// Only adapters of this API (a device that shows up under several is then listed for each)
    #[arg(long)]
    backend: Option<Backend>,
    /// Print all that the adapters report as JSON
    #[arg(long)]
    json: bool,
    /// With --json: do not open the adapters
    #[arg(long, requires = "json")]
    no_open: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct DeviceList {
    tool: Tool,
    host: Host,
    /// Best first: the index of each is its place.
    adapters: Vec<Adapter>,
}

/// One adapter.
#[derive(Debug, Serialize)]
struct Adapter {
    /// What a record says about it. What was seen of its subgroups is missing where it was not opened.
    device: Device,
    /// What else it reports.
    report: AdapterReport,
    /// What it reports once it is open; absent where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<Opened>,
    /// Why it could not be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    open_error: Option<String>,
}

/// An adapter that was opened.
#[derive(Debug, Serialize)]
struct Opened {
    /// What opening took, the look at subgroups included.
    took_s: Seconds,
    #[serde(flatten)]
    report: OpenReport,
}

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let adapters = gpu::list(args.backend);
    if adapters.is_empty() {
        return Err(Error::Input(GpuError::None { backend: args.backend }.to_string()));
    }
    if args.json {
        let adapters = adapters.iter().map(|listed| adapter(listed, !args.no_open)).collect();
        return print_json(&DeviceList { tool: Tool::this(), host: host::describe(), adapters });
    }
    let devices: Vec<&Device> = adapters.iter().map(|listed| &listed.device).collect();
    let columns = terminal_size::terminal_size_of(std::io::stdout()).map_or(LIST_COLUMNS, |(width, _)| width.0.into());
    print(&devices::devices(&devices, columns))
}

fn adapter(listed: &Listed, open: bool) -> Adapter {
    let mut adapter = Adapter { device: listed.device.clone(), report: listed.report(), open: None, open_error: None };
    if !open {
        return adapter;
    }
    let start = Instant::now();
    match listed.open(false) {
        Ok(gpu) => {
            let took_s = Seconds::new(start.elapsed().as_secs_f64());
            adapter.open = Some(Opened { took_s, report: gpu.report() });
            adapter.device = gpu.info.clone();
        }
        Err(error) => adapter.open_error = Some(error.to_string()),
    }
    adapter
}
