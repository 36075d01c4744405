//! `supernode devices`: the adapters.

use std::time::Instant;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::{Error, print};
use crate::measure::gpu::{self, AdapterReport, Backend, GpuError, Listed, OpenReport};
use crate::measure::host;
use crate::printable::printable;
use crate::record::{Device, Host, Tool};
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
    /// Print all that the adapters tell as JSON
    #[arg(long)]
    json: bool,
    /// With --json: do not open the adapters
    #[arg(long, requires = "json")]
    no_open: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Devices {
    tool: Tool,
    host: Host,
    /// Best first: the index of each is its place.
    adapters: Vec<Adapter>,
}

/// One adapter.
#[derive(Debug, Serialize)]
struct Adapter {
    /// What a record says about it. Without what was seen of its subgroups where it was not opened.
    device: Device,
    /// The rest of what it tells.
    report: AdapterReport,
    /// What it tells once it is open; absent where it is not.
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
        return super::print_json(&Devices { tool: Tool::this(), host: host::describe(), adapters });
    }
    let devices: Vec<&Device> = adapters.iter().map(|listed| &listed.device).collect();
    let columns = terminal_size::terminal_size_of(std::io::stdout()).map_or(COLUMNS, |(width, _)| width.0.into());
    print(&table(&devices, columns))
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

/// What every line fits where there is no terminal that says how many it has.
const COLUMNS: usize = 80;
/// Names of drivers are told apart by their first letters.
const DRIVER: usize = 12;
/// Blanks between two columns.
const GAP: usize = 2;

/// A line for each device, whose name is cut where all of it does not fit.
fn table(devices: &[&Device], columns: usize) -> String {
    const HEADER: [&str; 7] = ["", "name", "type", "backend", "memory", "PCI", "driver"];
    let mut rows: Vec<[String; 7]> = devices.iter().enumerate().map(|(index, device)| row(index, device)).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADER[column].len()]).max().unwrap_or(0)
    };
    let others: usize = (0..HEADER.len()).filter(|column| *column != 1).map(width).sum();
    let left = columns.saturating_sub(others + GAP * HEADER.len());
    rows.iter_mut().for_each(|row| row[1] = cut(&row[1], left));
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEADER);
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, u16::try_from(GAP).unwrap_or(0)));
    });
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    lines.collect()
}

fn row(index: usize, device: &Device) -> [String; 7] {
    let bus = device.pci_bus_id.as_deref().unwrap_or("-");
    [
        index.to_string(),
        printable(&device.name, 200),
        format!("{:?}", device.device_type).to_lowercase(),
        printable(&device.backend, 10),
        device.memory_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{:.0} GiB", bytes as f64 / GIB)),
        printable(gpu::short_bus_id(bus).unwrap_or(bus), 20),
        cut(&printable(&device.driver, 200), DRIVER),
    ]
}

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{DeviceType, MemorySource};

    fn amd(name: &str, driver: &str, bus: &str) -> Device {
        Device {
            name: name.to_owned(),
            driver: driver.to_owned(),
            backend: "vulkan".to_owned(),
            device_type: DeviceType::Integrated,
            memory_bytes: Some(24 << 30),
            memory_source: Some(MemorySource::HostMemory),
            pci_bus_id: Some(bus.to_owned()),
            ..Device::default()
        }
    }

    fn told(devices: &[Device], columns: usize) -> Vec<String> {
        table(&devices.iter().collect::<Vec<_>>(), columns).lines().map(str::to_owned).collect()
    }

    #[test]
    fn one_device_under_two_drivers_is_two_lines_that_differ_within_80_columns() {
        let radv = amd("AMD Radeon RX 7900 XTX of somebody (RADV NAVI31)", "radv", "0000:03:00.0");
        let amdvlk = amd("AMD Radeon RX 7900 XTX of somebody", "AMD open-source driver", "0000:03:00.0");
        let lines = told(&[radv.clone(), amdvlk], COLUMNS);
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS), "{lines:#?}");
        assert!(lines[1].contains("radv") && lines[2].contains("AMD open-so…"), "{lines:#?}");
        assert!(lines[1..].iter().all(|line| line.contains("24 GiB") && line.contains("03:00.0")), "{lines:#?}");
        assert!(told(&[radv], 120)[1].contains("(RADV NAVI31)"), "a wider terminal shows all of it");
    }

    #[test]
    fn two_equal_devices_differ_by_their_address_and_a_long_one_fits_too() {
        let lines = told(&["0000:01:00.0", "000f:c1:00.0"].map(|bus| amd("GPU", "driver", bus)), COLUMNS);
        assert!(lines[1].contains(" 01:00.0") && lines[2].contains(" 000f:c1:00.0"), "{lines:#?}");
    }

    #[test]
    fn what_is_not_known_is_a_dash_and_what_steers_a_terminal_a_blank() {
        let lines = told(&[Device { name: "evil\u{1b}[31m".to_owned(), ..Device::default() }], COLUMNS);
        assert!(lines[1].contains("evil [31m") && lines[1].contains(" -  "), "{lines:#?}");
    }
}
