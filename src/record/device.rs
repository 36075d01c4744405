//! The device that was measured, the computer around it, and the program that did it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The device as its driver describes it. The default is one of which nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The adapter's name.
    pub name: String,
    /// PCI vendor name where known, else the id in hexadecimal.
    pub vendor: String,
    /// PCI vendor id.
    pub vendor_id: u32,
    /// PCI device id.
    pub device_id: u32,
    /// Driver name.
    pub driver: String,
    /// Driver version and build.
    pub driver_info: String,
    /// Graphics API.
    pub backend: String,
    /// Discrete, integrated, virtual, software or unknown.
    pub device_type: DeviceType,
    /// Features of the adapter that decide which variants exist, sorted.
    pub features: Vec<String>,
    /// Limits that decide which shapes and tiles fit.
    pub limits: BTreeMap<String, u64>,
    /// Sizes of subgroups, in invocations, that workgroups of 256 ran with when the device was opened, ascending. Empty
    /// where that was not measured: without subgroups, where the launch failed, and in documents of versions 1 to 3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subgroup_sizes_seen: Vec<u32>,
    /// Memory that the device computes in, in bytes; absent where neither driver nor system reports it, and in documents of
    /// versions 1 to 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Which memory that is; absent with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_source: Option<MemorySource>,
    /// Address on the PCI bus, `domain:bus:device.function`, e.g. `0000:01:00.0`; absent for devices on no such bus,
    /// where the driver does not report it, and in documents of versions 1 to 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_bus_id: Option<String>,
}

impl Device {
    /// The backend of a device that a page of a browser opened. The browser's name and version are then where those of the
    /// driver would be.
    pub const BROWSER: &str = "browser_webgpu";

    /// The least and the greatest size of a subgroup, in invocations: of those seen, else of those that the adapter says
    /// there may be. `None` where nothing is known.
    pub fn subgroup_sizes(&self) -> Option<(u64, u64)> {
        let limit = |name: &str| self.limits.get(name).copied();
        let seen = || self.subgroup_sizes_seen.iter().copied().map(u64::from);
        seen().min().zip(seen().max()).or_else(|| limit("min_subgroup_size").zip(limit("max_subgroup_size")))
    }

    /// The memory in bytes, where the device has it to itself: it distinguishes two models of one name.
    pub fn own_memory_bytes(&self) -> Option<u64> {
        self.memory_bytes.filter(|_| self.memory_source == Some(MemorySource::DeviceHeap))
    }
}

/// Where a device's memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemorySource {
    /// The device's own: the largest heap that its driver calls local to the device.
    DeviceHeap,
    /// The host's main memory, shared with everything that runs there: an integrated GPU or a software adapter.
    HostMemory,
}

/// What kind of device an adapter is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceType {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU seen through virtualisation.
    Virtual,
    /// A CPU posing as a GPU: its figures say nothing about GPUs.
    Software,
    /// The driver does not say.
    #[default]
    Unknown,
}

/// The computer that the device is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Name and version of the operating system.
    pub os: String,
    /// The CPU's brand string.
    pub cpu: String,
    /// Logical CPUs.
    pub logical_cpus: u32,
    /// Main memory.
    pub memory_bytes: u64,
    /// The browser that ran the program; absent where none did, and in documents of versions 1 to 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub browser: Option<Browser>,
}

/// A browser, as it names itself. It stands between the program and the driver, and checks every shader by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Browser {
    /// Its name, e.g. `Chromium`; `unknown` where it does not tell.
    pub name: String,
    /// Its version; `unknown` where it does not tell.
    pub version: String,
}

/// Name, version and commit of the program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// `supernode-bench`.
    pub name: String,
    /// Crate version.
    pub version: String,
    /// Short git commit of the build, `-dirty` where the tree had changes; `None` outside a git checkout.
    pub git_commit: Option<String>,
}

impl Tool {
    /// This program.
    pub fn this() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: option_env!("SUPERNODE_GIT_COMMIT").map(str::to_owned),
        }
    }
}
