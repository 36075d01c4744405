//! Adapters: listed once each, chosen by index, name or place on the PCI bus.

use std::collections::BTreeMap;

use super::describe::describe;
use super::types::{AdapterChoice, Backend, GpuError, Listed};
use crate::measure::waiting;
use crate::record::{Device, DeviceType};

/// Allocations beyond this share of the memory that the system grants fail. Without a limit, drivers silently move buffers to
/// the host's memory.
const MOST_OF_BUDGET_PERCENT: u8 = 90;

/// All adapters: discrete GPUs first, software last. A device that shows up under several APIs is listed once, under
/// the best of them, unless `backend` asks for one. OpenGL is only looked at where nothing else answers: it shows the
/// same devices again, and its loader writes complaints of its own on a machine without a display.
pub fn list(backend: Option<Backend>) -> Vec<Listed> {
    match backend {
        Some(Backend::Vulkan) => enumerate(wgpu::Backends::VULKAN),
        Some(Backend::Metal) => enumerate(wgpu::Backends::METAL),
        Some(Backend::Dx12) => enumerate(wgpu::Backends::DX12),
        Some(Backend::Gl) => enumerate(wgpu::Backends::GL),
        None => {
            let native = enumerate(wgpu::Backends::PRIMARY);
            if native.is_empty() { enumerate(wgpu::Backends::GL) } else { native }
        }
    }
}

fn enumerate(backends: wgpu::Backends) -> Vec<Listed> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // Validation layers only on request (WGPU_VALIDATION=1): they change what is measured.
    descriptor.flags = wgpu::InstanceFlags::empty().with_env();
    descriptor.memory_budget_thresholds.for_resource_creation = Some(MOST_OF_BUDGET_PERCENT);
    let adapters = adapters(&wgpu::Instance::new(descriptor), backends);
    let mut listed: Vec<Listed> = adapters
        .into_iter()
        .filter(can_compute)
        .map(|adapter| Listed { device: describe(&adapter), adapter })
        .collect();
    listed.sort_by_key(|entry| backend_rank(&entry.device.backend));
    let devices: Vec<Device> = listed.iter().map(|entry| entry.device.clone()).collect();
    let keep = without_duplicates(&devices);
    let mut kept: Vec<Listed> =
        listed.into_iter().zip(keep).filter_map(|(entry, keep)| keep.then_some(entry)).collect();
    kept.sort_by_key(|entry| type_rank(entry.device.device_type));
    kept
}

#[cfg(not(target_arch = "wasm32"))]
fn adapters(instance: &wgpu::Instance, backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    waiting::block_on(instance.enumerate_adapters(backends))
}

/// A browser shows one adapter. Of two GPUs it would show the slower one, unless it is asked for the faster.
#[cfg(target_arch = "wasm32")]
fn adapters(instance: &wgpu::Instance, _: wgpu::Backends) -> Vec<wgpu::Adapter> {
    let power_preference = wgpu::PowerPreference::HighPerformance;
    let asked = instance.request_adapter(&wgpu::RequestAdapterOptions { power_preference, ..Default::default() });
    waiting::block_on(asked).ok().into_iter().collect()
}

/// The adapter of the user's choice.
///
/// # Errors
/// [`GpuError::None`], [`GpuError::Selection`].
pub fn select(selection: &AdapterChoice) -> Result<Listed, GpuError> {
    let mut adapters = list(selection.backend);
    if adapters.is_empty() {
        return Err(GpuError::None { backend: selection.backend });
    }
    let devices: Vec<&Device> = adapters.iter().map(|entry| &entry.device).collect();
    let index = choose(&devices, selection.adapter.as_deref())?;
    Ok(adapters.swap_remove(index))
}

fn choose(devices: &[&Device], wanted: Option<&str>) -> Result<usize, GpuError> {
    let Some(wanted) = wanted else { return Ok(0) };
    let fail = |problem| {
        let names: Vec<String> = devices
            .iter()
            .enumerate()
            .map(|(index, device)| format!("{index} = {} ({}{})", device.name, device.backend, at_bus(device)))
            .collect();
        Err(GpuError::Selection { wanted: wanted.to_owned(), problem, names: names.join(", ") })
    };
    if let Ok(index) = wanted.parse::<usize>() {
        return if index < devices.len() { Ok(index) } else { fail("no adapter has this index") };
    }
    let fits = |fit: &dyn Fn(&Device) -> bool| (0..devices.len()).filter(|&index| fit(devices[index])).collect();
    let there: Vec<usize> = fits(&|device| is_at(device, wanted));
    match there.as_slice() {
        [] => {}
        [one] => return Ok(*one),
        _ => return fail("several adapters have this PCI address"),
    }
    let part = wanted.to_lowercase();
    let fitting: Vec<usize> = fits(&|device| device.name.to_lowercase().contains(&part));
    match fitting.as_slice() {
        [one] => Ok(*one),
        [] => fail("no adapter has this PCI address or a name that contains this"),
        _ => fail("several adapters' names contain this"),
    }
}

fn at_bus(device: &Device) -> String {
    device.pci_bus_id.as_ref().map_or(String::new(), |id| format!(", {id}"))
}

/// Whether a device has this PCI address, in any case, with or without the domain 0000.
fn is_at(device: &Device, address: &str) -> bool {
    device.pci_bus_id.as_deref().is_some_and(|id| {
        id.eq_ignore_ascii_case(address) || short_bus_id(id).is_some_and(|short| short.eq_ignore_ascii_case(address))
    })
}

/// `01:00.0` for `0000:01:00.0`; `None` where the domain is another.
pub fn short_bus_id(id: &str) -> Option<&str> {
    id.strip_prefix("0000:")
}

fn can_compute(adapter: &wgpu::Adapter) -> bool {
    adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
        && adapter.limits().max_storage_buffers_per_shader_stage >= 5
}

/// Marks the entries to keep, given in order of preference: of several APIs that show as many devices of one name, only
/// the first API's stay.
fn without_duplicates(devices: &[Device]) -> Vec<bool> {
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut keep = Vec::with_capacity(devices.len());
    for device in devices {
        let count = seen.entry((&device.backend, &device.name)).or_default();
        *count += 1;
        let nth = *count;
        let elsewhere = seen
            .iter()
            .filter(|((backend, name), _)| *backend != device.backend && *name == device.name)
            .map(|(_, count)| *count)
            .max()
            .unwrap_or(0);
        keep.push(nth > elsewhere);
    }
    keep
}

fn backend_rank(backend: &str) -> u8 {
    match backend {
        "vulkan" => 0,
        "metal" => 1,
        "dx12" => 2,
        _ => 3,
    }
}

fn type_rank(device_type: DeviceType) -> u8 {
    match device_type {
        DeviceType::Discrete => 0,
        DeviceType::Integrated => 1,
        DeviceType::Virtual => 2,
        DeviceType::Unknown => 3,
        DeviceType::Software => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, backend: &str) -> Device {
        Device { name: name.to_owned(), backend: backend.to_owned(), ..Device::default() }
    }

    fn on_bus(name: &str, id: &str) -> Device {
        Device { pci_bus_id: Some(id.to_owned()), ..device(name, "vulkan") }
    }

    #[test]
    fn one_device_under_two_apis_is_listed_once_and_two_equal_devices_twice() {
        let devices = [
            device("GPU", "vulkan"),
            device("GPU", "vulkan"),
            device("GPU", "gl"),
            device("GPU", "gl"),
            device("other", "gl"),
        ];
        assert_eq!(without_duplicates(&devices), [true, true, false, false, true]);
    }

    #[test]
    fn an_adapter_is_chosen_by_index_or_by_part_of_its_name_in_any_case() {
        let (a, b) = (device("NVIDIA H200", "vulkan"), device("llvmpipe (LLVM 15)", "vulkan"));
        let devices = [&a, &b];
        assert_eq!(choose(&devices, None).unwrap(), 0);
        assert_eq!(choose(&devices, Some("1")).unwrap(), 1);
        assert_eq!(choose(&devices, Some("LLVM")).unwrap(), 1);
    }

    #[test]
    fn a_name_that_fits_none_or_several_says_which_there_are() {
        let (a, b) = (device("GPU one", "vulkan"), device("GPU two", "vulkan"));
        for (wanted, part) in [("gpu", "several"), ("radeon", "name that contains"), ("7", "index")] {
            let message = choose(&[&a, &b], Some(wanted)).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("1 = GPU two (vulkan)"), "{message}");
        }
    }
    #[test]
    fn two_equal_devices_are_told_apart_by_their_pci_address() {
        let (a, b) = (on_bus("GPU", "0000:01:00.0"), on_bus("GPU", "0000:C1:00.0"));
        for (wanted, index) in [("0000:01:00.0", 0), ("01:00.0", 0), ("c1:00.0", 1), ("0000:c1:00.0", 1)] {
            assert_eq!(choose(&[&a, &b], Some(wanted)).unwrap(), index, "{wanted}");
        }
        let message = choose(&[&a, &b], Some("gpu")).unwrap_err().to_string();
        assert!(message.contains("0 = GPU (vulkan, 0000:01:00.0), 1 = GPU (vulkan, 0000:C1:00.0)"), "{message}");
        assert!(choose(&[&a, &b], Some("02:00.0")).is_err());
    }

    #[test]
    fn one_device_under_two_drivers_stays_two_and_its_address_alone_does_not_choose() {
        let devices = [on_bus("GPU (RADV NAVI21)", "0000:03:00.0"), on_bus("GPU", "0000:03:00.0")];
        assert_eq!(without_duplicates(&devices), [true, true]);
        let refused = choose(&[&devices[0], &devices[1]], Some("03:00.0")).unwrap_err().to_string();
        assert!(refused.contains("several adapters have this PCI address"), "{refused}");
        assert_eq!(choose(&[&devices[0], &devices[1]], Some("radv")).unwrap(), 0);
    }
}
