//! Adapters: listed once each, chosen by index or name, opened with what the kernels can use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::record::{Device, DeviceType};

/// An adapter as `devices` lists it.
#[derive(Debug)]
pub struct Listed {
    adapter: wgpu::Adapter,
    /// What the record will say about it.
    pub device: Device,
}

/// Which adapter is wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Index in the list, or part of the name in any case; the first of the list where `None`.
    pub adapter: Option<String>,
    /// Only adapters of this backend.
    pub backend: Option<Backend>,
}

/// Graphics APIs that wgpu drives natively.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// Vulkan.
    Vulkan,
    /// Metal.
    Metal,
    /// Direct3D 12.
    Dx12,
    /// OpenGL ES or desktop OpenGL.
    Gl,
}

/// Why no adapter was opened.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// No adapter at all.
    #[error(
        "no GPU adapter found{}: install a Vulkan driver (Debian and Ubuntu: `apt-get install mesa-vulkan-drivers` gives \
         a software one), or check that this user may open the GPU's device files",
        .backend.map_or(String::new(), |backend| format!(" for backend {backend:?}"))
    )]
    None {
        /// The backend that was asked for.
        backend: Option<Backend>,
    },
    /// The selection fits no adapter or several.
    #[error("--adapter {wanted}: {problem}; `supernode devices` lists them: {names}")]
    Selection {
        /// What was asked for.
        wanted: String,
        /// Fits none, fits several, or is beyond the last.
        problem: &'static str,
        /// Index and name of each adapter.
        names: String,
    },
    /// The driver refused.
    #[error("{name} could not be opened: {message}")]
    Open {
        /// The adapter.
        name: String,
        /// What the driver said.
        message: String,
    },
}

/// An opened device.
#[derive(Debug)]
pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    /// Length of a timestamp tick; `None` without timestamp queries.
    pub(super) timestamp_period_ns: Option<f64>,
    /// Whether shaders keep wgpu's bounds checks and loop bounds.
    pub(super) runtime_checks: bool,
    /// A device that has not answered for this long is given up.
    pub(super) patience: Duration,
    /// Why the device is gone, once it is.
    lost: Arc<OnceLock<String>>,
    /// What was compiled before, by source and constants.
    pub(super) pipelines: Mutex<BTreeMap<String, wgpu::ComputePipeline>>,
    /// What the record says about it.
    pub info: Device,
}

/// The longest work that is ever submitted takes a second by the roofs; a device a hundred times slower has hung.
const PATIENCE: Duration = Duration::from_secs(120);

/// Features that decide which variants exist or how they are timed.
const WANTED: [(wgpu::Features, &str); 4] = [
    (wgpu::Features::TIMESTAMP_QUERY, "timestamp_query"),
    (wgpu::Features::SHADER_F16, "shader_f16"),
    (wgpu::Features::SUBGROUP, "subgroup"),
    (wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, "cooperative_matrix"),
];

impl Gpu {
    /// Whether samples can be timed on the device's own clock.
    pub fn has_timestamps(&self) -> bool {
        self.timestamp_period_ns.is_some()
    }

    /// Why the device is gone, if it is.
    pub(super) fn lost(&self) -> Option<String> {
        self.lost.get().cloned()
    }
}

impl Listed {
    /// Opens the device with every feature and limit that the kernels can use.
    ///
    /// # Errors
    /// [`GpuError::Open`].
    pub fn open(&self, runtime_checks: bool) -> Result<Gpu, GpuError> {
        let wanted = WANTED.iter().fold(wgpu::Features::empty(), |all, (feature, _)| all | *feature);
        let features = self.adapter.features() & wanted;
        let (device, queue) = pollster::block_on(self.adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("supernode"),
            required_features: features,
            required_limits: self.adapter.limits(),
            experimental_features: experimental(features),
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        }))
        .map_err(|error| GpuError::Open { name: self.device.name.clone(), message: error.to_string() })?;
        let timestamp_period_ns =
            features.contains(wgpu::Features::TIMESTAMP_QUERY).then(|| f64::from(queue.get_timestamp_period()));
        let lost = Arc::new(OnceLock::new());
        let note = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            // The first reason is the cause.
            let _ = note.set(if message.is_empty() { format!("{reason:?}") } else { message });
        });
        let (pipelines, info) = (Mutex::default(), self.device.clone());
        Ok(Gpu { device, queue, timestamp_period_ns, runtime_checks, patience: PATIENCE, lost, pipelines, info })
    }
}

/// Cooperative matrices are experimental in wgpu 30; nothing else experimental is ever asked for.
#[expect(
    unsafe_code,
    reason = "the feature cannot be had without this acknowledgement, and each use of it is verified"
)]
fn experimental(features: wgpu::Features) -> wgpu::ExperimentalFeatures {
    if features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        // SAFETY: acknowledges that the feature may have faults in wgpu; it takes part in no memory safety of ours.
        unsafe { wgpu::ExperimentalFeatures::enabled() }
    } else {
        wgpu::ExperimentalFeatures::disabled()
    }
}

/// Each kind of cooperative matrix that the adapter multiplies, as a feature of its own, e.g.
/// `cooperative_matrix_16x16x16_f16_f32`: rows, columns and depth, type of the operands, type of the sums.
fn matrix_features(adapter: &wgpu::Adapter) -> Vec<String> {
    let scalar = |scalar: wgpu::CooperativeScalarType| match scalar {
        wgpu::CooperativeScalarType::F32 => "f32",
        wgpu::CooperativeScalarType::F16 => "f16",
        wgpu::CooperativeScalarType::I32 => "i32",
        wgpu::CooperativeScalarType::U32 => "u32",
    };
    let mut names: Vec<String> = adapter
        .cooperative_matrix_properties()
        .iter()
        .map(|p| {
            let size = format!("{}x{}x{}", p.m_size, p.n_size, p.k_size);
            format!("cooperative_matrix_{size}_{}_{}", scalar(p.ab_type), scalar(p.cr_type))
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

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
    let adapters = pollster::block_on(wgpu::Instance::new(descriptor).enumerate_adapters(backends));
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

/// The adapter that the selection names.
///
/// # Errors
/// [`GpuError::None`], [`GpuError::Selection`].
pub fn select(selection: &Selection) -> Result<Listed, GpuError> {
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
            .map(|(index, device)| format!("{index} = {} ({})", device.name, device.backend))
            .collect();
        Err(GpuError::Selection { wanted: wanted.to_owned(), problem, names: names.join(", ") })
    };
    if let Ok(index) = wanted.parse::<usize>() {
        return if index < devices.len() { Ok(index) } else { fail("no adapter has this index") };
    }
    let part = wanted.to_lowercase();
    let fitting: Vec<usize> =
        (0..devices.len()).filter(|&index| devices[index].name.to_lowercase().contains(&part)).collect();
    match fitting.as_slice() {
        [one] => Ok(*one),
        [] => fail("no adapter's name contains this"),
        _ => fail("several adapters' names contain this"),
    }
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

fn describe(adapter: &wgpu::Adapter) -> Device {
    let info = adapter.get_info();
    let features = adapter.features();
    let limits = adapter.limits();
    Device {
        vendor: vendor_name(info.vendor),
        vendor_id: info.vendor,
        device_id: info.device,
        driver: info.driver,
        driver_info: info.driver_info,
        backend: info.backend.to_str().to_owned(),
        device_type: device_type(info.device_type, &info.name),
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
    }
}

fn device_type(reported: wgpu::DeviceType, name: &str) -> DeviceType {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, backend: &str) -> Device {
        Device {
            name: name.to_owned(),
            vendor: "x".to_owned(),
            vendor_id: 1,
            device_id: 2,
            driver: String::new(),
            driver_info: String::new(),
            backend: backend.to_owned(),
            device_type: DeviceType::Discrete,
            features: Vec::new(),
            limits: BTreeMap::new(),
        }
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
        for (wanted, part) in [("gpu", "several"), ("radeon", "no adapter's name"), ("7", "index")] {
            let message = choose(&[&a, &b], Some(wanted)).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("1 = GPU two (vulkan)"), "{message}");
        }
    }
}
