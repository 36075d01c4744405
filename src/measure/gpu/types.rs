//! What is known of adapters and of an opened device.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::record::{Device, DeviceType};

/// An adapter as `devices` lists it.
#[derive(Debug)]
pub struct Listed {
    pub(super) adapter: wgpu::Adapter,
    /// What the record will say about it.
    pub device: Device,
}

/// Which adapter is wanted.
#[derive(Debug, Clone, Default)]
pub struct AdapterChoice {
    /// Index in the list, address on the PCI bus (the domain 0000 may be left out), or part of the name in any case; the
    /// first of the list where `None`.
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

/// What to do where there is no adapter.
const ADVICE: &str = if cfg!(target_arch = "wasm32") {
    "this browser offers none to pages; update the browser and the GPU's driver, turn on \"use graphics acceleration\" in \
     the browser's settings, or use another browser (Chrome or Edge)"
} else {
    "install a Vulkan driver (Debian and Ubuntu: `apt-get install mesa-vulkan-drivers` gives a software one), or check that \
     this user may open the GPU's device files"
};

/// Why no adapter was opened.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// No adapter at all.
    #[error(
        "no GPU adapter found{}: {ADVICE}",
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
    pub(in crate::measure) device: wgpu::Device,
    pub(in crate::measure) queue: wgpu::Queue,
    /// Length of a timestamp tick; `None` without timestamp queries.
    pub(in crate::measure) timestamp_period_ns: Option<f64>,
    /// Whether shaders keep wgpu's bounds checks and loop bounds.
    pub(in crate::measure) runtime_checks: bool,
    /// A device that has not answered for this long is given up.
    pub patience: Duration,
    /// Why the device is gone, once it is.
    pub(super) lost: Arc<OnceLock<String>>,
    /// What did not work out at opening, and what was done about it: sentences for a person.
    pub notes: Vec<String>,
    /// What was compiled before, by source and constants.
    pub(in crate::measure) pipelines: Mutex<BTreeMap<String, wgpu::ComputePipeline>>,
    /// What the record says about it.
    pub info: Device,
}

/// How long the device may take for a submission. The longest takes a second by the roofs; a device that is a hundred times
/// slower has hung. A software driver compiles within the first submission: llvmpipe needs minutes for some kernels.
pub(super) fn patience(info: &Device) -> Duration {
    Duration::from_secs(if info.device_type == DeviceType::Software { 900 } else { 120 })
}

/// Features that decide which variants exist or how they are timed.
pub(super) const WANTED: [(wgpu::Features, &str); 4] = [
    (wgpu::Features::TIMESTAMP_QUERY, "timestamp_query"),
    (wgpu::Features::SHADER_F16, "shader_f16"),
    (wgpu::Features::SUBGROUP, "subgroup"),
    (wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, MATRIX),
];

/// The names of all features of cooperative matrices begin so.
pub(super) const MATRIX: &str = "cooperative_matrix";

impl Gpu {
    /// Whether samples can be timed on the device's own clock.
    pub fn has_timestamps(&self) -> bool {
        self.timestamp_period_ns.is_some()
    }

    /// Whether this is the device that was opened `before`, and no other that answers in its place. What was seen of it the
    /// first time holds, whether it could be seen again or not.
    pub fn is(&self, before: &Device) -> bool {
        Device { subgroup_sizes_seen: before.subgroup_sizes_seen.clone(), ..self.info.clone() } == *before
    }

    /// Ends the device, as a driver that resets it would: whatever runs on it from now on fails.
    pub fn destroy(&self) {
        self.device.destroy();
        // Brings the news of the end, so that `lost` knows it.
        let _ = self.device.poll(wgpu::PollType::Poll);
    }

    /// Why the device is gone, if it is.
    pub(in crate::measure) fn lost(&self) -> Option<String> {
        self.lost.get().cloned()
    }
}
