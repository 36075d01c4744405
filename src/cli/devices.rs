//! `supernode devices`: the adapters.

use comfy_table::{ContentArrangement, Table, presets};

use super::{Error, print};
use crate::measure::gpu::{self, Backend, GpuError};
use crate::record::Device;

/// List the adapters that kernels can run on, best first
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only adapters of this API (a device that shows up under several is then listed for each)
    #[arg(long)]
    backend: Option<Backend>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Error> {
    let adapters = gpu::list(args.backend);
    if adapters.is_empty() {
        return Err(Error::Input(GpuError::None { backend: args.backend }.to_string()));
    }
    let devices: Vec<&Device> = adapters.iter().map(|listed| &listed.device).collect();
    if args.json {
        return super::print_json(&devices);
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["index", "name", "type", "backend", "driver", "features"]);
    for (index, device) in devices.iter().enumerate() {
        table.add_row([
            index.to_string(),
            device.name.clone(),
            format!("{:?}", device.device_type).to_lowercase(),
            device.backend.clone(),
            format!("{} {}", device.driver, device.driver_info),
            device.features.join(", "),
        ]);
    }
    print(&format!("{table}\n"))
}
