//! The computer around the device.

#[cfg(not(target_arch = "wasm32"))]
use sysinfo::System;

use crate::record::Host;
use crate::units::Seconds;

/// Operating system, CPU and memory; what the system does not report is `unknown` or 0.
#[cfg(not(target_arch = "wasm32"))]
pub fn describe() -> Host {
    let unknown = || "unknown".to_owned();
    let os = System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.to_owned());
    let Ok(mut system) = System::new() else {
        return Host { os, cpu: unknown(), logical_cpus: 0, memory_bytes: 0, browser: None };
    };
    system.refresh_memory();
    system.refresh_cpu_all();
    Host {
        os,
        cpu: system.cpus().first().map_or_else(unknown, |cpu| cpu.brand().trim().to_owned()),
        logical_cpus: u32::try_from(system.cpus().len()).unwrap_or(u32::MAX),
        memory_bytes: system.total_memory(),
        browser: None,
    }
}

/// As far as the browser tells.
#[cfg(target_arch = "wasm32")]
pub fn describe() -> Host {
    super::browser::host()
}

/// Main memory in bytes; `None` where the system does not report it.
#[cfg(not(target_arch = "wasm32"))]
pub fn memory_bytes() -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    Some(system.total_memory()).filter(|bytes| *bytes > 0)
}

/// A browser rounds the memory that it reports, so that no device's can be told from it.
#[cfg(target_arch = "wasm32")]
pub fn memory_bytes() -> Option<u64> {
    None
}

/// CPU time of this process so far, over all threads.
#[cfg(unix)]
pub fn process_cpu_time() -> Option<Seconds> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Seconds::new(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9))
}

/// CPU time of this process so far: this system does not report it.
#[cfg(not(unix))]
pub fn process_cpu_time() -> Option<Seconds> {
    None
}
