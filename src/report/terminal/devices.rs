//! The list of adapters.

use comfy_table::{Table, presets};

use crate::printable::printable;
use crate::record::Device;
use crate::report::text::short;
use crate::report::words;

/// Columns of the list where no terminal says how many it has.
pub const LIST_COLUMNS: usize = 80;
/// Letters of a driver's name that are shown: enough to tell two drivers of one device from each other.
const DRIVER: usize = 12;
/// Blanks between two columns.
const GAP: usize = 2;

/// A line for each device, whose name is cut where all of it does not fit.
pub fn devices(devices: &[&Device], columns: usize) -> String {
    const HEADER: [&str; 7] = ["", "name", "type", "backend", "memory", "PCI", "driver"];
    let mut rows: Vec<[String; 7]> = devices.iter().enumerate().map(|(index, device)| row(index, device)).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([HEADER[column].len()]).max().unwrap_or(0)
    };
    let others: usize = (0..HEADER.len()).filter(|column| *column != 1).map(width).sum();
    let left = columns.saturating_sub(others + GAP * HEADER.len());
    rows.iter_mut().for_each(|row| row[1] = short(&row[1], left));
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
        words::device_type(device.device_type).to_owned(),
        printable(&device.backend, 10),
        device.memory_bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{:.0} GiB", bytes as f64 / GIB)),
        // The domain 0 is left out, as `--adapter` takes it.
        printable(bus.strip_prefix("0000:").unwrap_or(bus), 20),
        short(&device.driver, DRIVER),
    ]
}

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

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

    fn list(devices: &[Device], columns: usize) -> Vec<String> {
        super::devices(&devices.iter().collect::<Vec<_>>(), columns).lines().map(str::to_owned).collect()
    }

    #[test]
    fn one_device_under_two_drivers_is_two_lines_that_differ_within_80_columns() {
        let radv = amd("AMD Radeon RX 7900 XTX of somebody (RADV NAVI31)", "radv", "0000:03:00.0");
        let amdvlk = amd("AMD Radeon RX 7900 XTX of somebody", "AMD open-source driver", "0000:03:00.0");
        let lines = list(&[radv.clone(), amdvlk], LIST_COLUMNS);
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= LIST_COLUMNS), "{lines:#?}");
        assert!(lines[1].contains("radv") && lines[2].contains("AMD open-so…"), "{lines:#?}");
        assert!(lines[1..].iter().all(|line| line.contains("24 GiB") && line.contains("03:00.0")), "{lines:#?}");
        assert!(list(&[radv], 120)[1].contains("(RADV NAVI31)"), "a wider terminal shows all of it");
    }

    #[test]
    fn two_equal_devices_differ_by_their_address_and_a_long_one_fits_too() {
        let lines = list(&["0000:01:00.0", "000f:c1:00.0"].map(|bus| amd("GPU", "driver", bus)), LIST_COLUMNS);
        assert!(lines[1].contains(" 01:00.0") && lines[2].contains(" 000f:c1:00.0"), "{lines:#?}");
    }

    #[test]
    fn what_is_not_known_is_a_dash_and_what_steers_a_terminal_a_blank() {
        let lines = list(&[Device { name: "evil\u{1b}[31m".to_owned(), ..Device::default() }], LIST_COLUMNS);
        assert!(lines[1].contains("evil [31m") && lines[1].contains(" -  "), "{lines:#?}");
    }
}
