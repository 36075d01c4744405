//! Which adapters this program sees.

#[cfg(feature = "gpu")]
use crate::printable::printable;
use crate::report::terminal::doctor::{Check, CheckState};

/// The best adapter that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adapters {
    /// Built without the feature `gpu`.
    #[cfg_attr(all(feature = "gpu", not(test)), expect(dead_code, reason = "of the other build"))]
    NotBuilt,
    None,
    SoftwareOnly,
    Gpu,
}

/// What there is, the APIs of those that are no software adapters, and a check for each.
#[cfg(feature = "gpu")]
pub(super) fn look() -> (Adapters, Vec<String>, Vec<Check>) {
    use crate::record::DeviceType;
    let listed = crate::measure::gpu::list(None);
    let mut checks = Vec::new();
    for adapter in &listed {
        let device = &adapter.device;
        let software = device.device_type == DeviceType::Software;
        let kind = if software { ", a software adapter: a CPU that poses as a GPU" } else { "" };
        let state = if software { CheckState::Note } else { CheckState::Ok };
        let bus = device.pci_bus_id.as_ref().map_or(String::new(), |id| format!(", PCI {id}"));
        let found =
            format!("{} ({}, {} {}{bus}){kind}", device.name, device.backend, device.driver, device.driver_info);
        checks.push(Check::new(state, "adapter", printable(&found, 200)));
    }
    if checks.is_empty() {
        checks.push(Check::new(CheckState::Problem, "adapter", "none: no driver offers a device with compute shaders"));
        return (Adapters::None, Vec::new(), checks);
    }
    let hardware = listed.iter().filter(|adapter| adapter.device.device_type != DeviceType::Software);
    let backends: Vec<String> = hardware.map(|adapter| adapter.device.backend.clone()).collect();
    (if backends.is_empty() { Adapters::SoftwareOnly } else { Adapters::Gpu }, backends, checks)
}

#[cfg(not(feature = "gpu"))]
pub(super) fn look() -> (Adapters, Vec<String>, Vec<Check>) {
    let found = "built without the feature `gpu`: it projects, compares and reports, but sees no adapter";
    (Adapters::NotBuilt, Vec::new(), vec![Check::new(CheckState::Problem, "this program", found)])
}
