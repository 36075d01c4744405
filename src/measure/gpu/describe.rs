//! What the record says about an adapter.

use std::collections::BTreeMap;

use super::memory;
use super::types::{MATRIX, WANTED};
use crate::record::{Device, DeviceType};

/// All that is known of an adapter that is not opened.
pub(super) fn describe(adapter: &wgpu::Adapter) -> Device {
    let info = adapter.get_info();
    let features = adapter.features();
    let limits = adapter.limits();
    let device_type = device_type(info.device_type, &info.name);
    let (memory_bytes, memory_source) = memory::of(device_type, &memory::heaps(adapter)).unzip();
    Device {
        vendor: vendor_name(info.vendor),
        vendor_id: info.vendor,
        device_id: info.device,
        driver: info.driver,
        driver_info: info.driver_info,
        backend: info.backend.to_str().to_owned(),
        device_type,
        name: info.name,
        features: WANTED
            .iter()
            .filter(|(feature, _)| features.contains(*feature))
            .map(|(_, name)| (*name).to_owned())
            .chain(matrix_features(adapter))
            .collect(),
        limits: BTreeMap::from([
            ("max_buffer_size".to_owned(), limits.max_buffer_size),
            ("max_storage_buffer_binding_size".to_owned(), limits.max_storage_buffer_binding_size),
            ("max_compute_workgroup_storage_size".to_owned(), limits.max_compute_workgroup_storage_size.into()),
            ("max_compute_invocations_per_workgroup".to_owned(), limits.max_compute_invocations_per_workgroup.into()),
            ("max_compute_workgroups_per_dimension".to_owned(), limits.max_compute_workgroups_per_dimension.into()),
            ("max_storage_buffers_per_shader_stage".to_owned(), limits.max_storage_buffers_per_shader_stage.into()),
            ("min_subgroup_size".to_owned(), info.subgroup_min_size.into()),
            ("max_subgroup_size".to_owned(), info.subgroup_max_size.into()),
        ]),
        // Measured once the device is open.
        subgroup_sizes_seen: Vec::new(),
        memory_bytes,
        memory_source,
        pci_bus_id: Some(info.device_pci_bus_id).filter(|id| !id.is_empty()),
    }
}

/// Each kind of cooperative matrix that the adapter multiplies, as a feature of its own, e.g.
/// `cooperative_matrix_16x16x16_f16_f32`: rows, columns and depth, type of the operands, type of the sums.
fn matrix_features(adapter: &wgpu::Adapter) -> Vec<String> {
    let mut names: Vec<String> = adapter
        .cooperative_matrix_properties()
        .iter()
        .map(|p| {
            let size = format!("{}x{}x{}", p.m_size, p.n_size, p.k_size);
            format!("{MATRIX}_{size}_{}_{}", scalar_name(p.ab_type), scalar_name(p.cr_type))
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// As the names of features spell it.
pub(super) fn scalar_name(scalar: wgpu::CooperativeScalarType) -> &'static str {
    match scalar {
        wgpu::CooperativeScalarType::F32 => "f32",
        wgpu::CooperativeScalarType::F16 => "f16",
        wgpu::CooperativeScalarType::I32 => "i32",
        wgpu::CooperativeScalarType::U32 => "u32",
    }
}

/// `reported`, or what the adapter's name tells.
pub(super) fn device_type(reported: wgpu::DeviceType, name: &str) -> DeviceType {
    // GL drivers do not report a type; Mesa's rasterisers are known by name.
    let name = name.to_lowercase();
    match reported {
        wgpu::DeviceType::DiscreteGpu => DeviceType::Discrete,
        wgpu::DeviceType::IntegratedGpu => DeviceType::Integrated,
        wgpu::DeviceType::VirtualGpu => DeviceType::Virtual,
        wgpu::DeviceType::Cpu => DeviceType::Software,
        wgpu::DeviceType::Other => {
            if ["llvmpipe", "softpipe", "swiftshader", "basic render"].iter().any(|part| name.contains(part)) {
                DeviceType::Software
            } else {
                DeviceType::Unknown
            }
        }
    }
}

/// PCI-SIG vendor ids, and the Khronos ids of vendors without one.
fn vendor_name(id: u32) -> String {
    match id {
        0x1002 => "AMD".to_owned(),
        0x1010 => "Imagination".to_owned(),
        0x106B => "Apple".to_owned(),
        0x10DE => "NVIDIA".to_owned(),
        0x13B5 => "Arm".to_owned(),
        0x1414 => "Microsoft".to_owned(),
        0x19E5 => "Huawei".to_owned(),
        0x1AE0 => "Google".to_owned(),
        0x1ED5 => "Moore Threads".to_owned(),
        0x5143 => "Qualcomm".to_owned(),
        0x8086 => "Intel".to_owned(),
        0x10005 => "Mesa".to_owned(),
        other => format!("{other:#06x}"),
    }
}
