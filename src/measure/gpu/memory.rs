//! The memory of a device. wgpu does not report it, so Vulkan is asked. A device that shares the host's memory has that of
//! the host.
//!
//! Metal and Direct3D 12 would have to be asked through crates of their own, so a discrete GPU under them has no figure.

use serde::Serialize;

use crate::measure::host;
use crate::record::{DeviceType, MemorySource};

/// A heap as Vulkan reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Heap {
    /// Its size.
    pub bytes: u64,
    /// Whether the driver calls it local to the device.
    pub device_local: bool,
}

/// Memory in bytes and whose it is; `None` where neither driver nor system reports it.
pub(super) fn of(device_type: DeviceType, heaps: &[Heap]) -> Option<(u64, MemorySource)> {
    match device_type {
        DeviceType::Integrated | DeviceType::Software => Some((host::memory_bytes()?, MemorySource::HostMemory)),
        DeviceType::Discrete | DeviceType::Virtual | DeviceType::Unknown => {
            Some((largest_local(heaps)?, MemorySource::DeviceHeap))
        }
    }
}

/// Sizes of local heaps are not added: a second one is a window for the host, and on some drivers part of the first.
fn largest_local(heaps: &[Heap]) -> Option<u64> {
    heaps.iter().filter(|heap| heap.device_local).map(|heap| heap.bytes).max().filter(|bytes| *bytes > 0)
}

/// All heaps, in the driver's order; empty where the adapter is not Vulkan's.
#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
#[expect(
    unsafe_code,
    reason = "models of one name differ in the size of their memory, which wgpu has no safe call for"
)]
pub(super) fn heaps(adapter: &wgpu::Adapter) -> Vec<Heap> {
    // SAFETY: the adapter is only read, and is not destroyed here.
    let Some(adapter) = (unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }) else { return Vec::new() };
    let instance = adapter.shared_instance().raw_instance();
    // SAFETY: the physical device is of this instance, and both live as long as the adapter. Nothing is written.
    let memory = unsafe { instance.get_physical_device_memory_properties(adapter.raw_physical_device()) };
    let local = |flags: u32| flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT != 0;
    let heaps = memory.memory_heaps_as_slice().iter();
    heaps.map(|heap| Heap { bytes: heap.size, device_local: local(heap.flags.as_raw()) }).collect()
}

/// Of Vulkan's specification; the crate that names it is wgpu's own.
#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
const VK_MEMORY_HEAP_DEVICE_LOCAL_BIT: u32 = 1;

/// No Vulkan here.
#[cfg(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(super) fn heaps(_adapter: &wgpu::Adapter) -> Vec<Heap> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn two_models_of_one_name_are_told_apart_by_the_largest_heap_of_their_own() {
        let card = |own: u64| {
            [(own, true), (32 * GIB, false), (246 << 20, true)]
                .map(|(bytes, device_local)| Heap { bytes, device_local })
        };
        for size in [8 * GIB, 12 * GIB] {
            assert_eq!(of(DeviceType::Discrete, &card(size)), Some((size, MemorySource::DeviceHeap)));
        }
    }

    #[test]
    fn what_shares_the_host_s_memory_has_the_host_s_whatever_its_heaps_say() {
        let heap = Heap { bytes: 2 * GIB, device_local: true };
        let host = host::memory_bytes().unwrap();
        for shared in [DeviceType::Integrated, DeviceType::Software] {
            assert_eq!(of(shared, &[heap]), Some((host, MemorySource::HostMemory)));
        }
    }

    #[test]
    fn nothing_is_made_up_where_no_heap_is_told() {
        let heap = Heap { bytes: 8 * GIB, device_local: false };
        assert_eq!(of(DeviceType::Discrete, &[]), None);
        assert_eq!(of(DeviceType::Discrete, &[heap]), None);
    }
}
