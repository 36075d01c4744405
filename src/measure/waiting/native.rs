//! Waiting on an operating system.

use std::sync::mpsc;
use std::time::Duration;

use super::super::executor::LaunchError;
use super::super::gpu::Gpu;
use crate::units::Seconds;

pub(in crate::measure) use pollster::block_on;

/// Waits for all work that was submitted, as long as the device's patience lasts.
///
/// # Errors
/// [`LaunchError::Hung`], [`LaunchError::Device`].
pub(in crate::measure) fn submitted(gpu: &Gpu) -> Result<(), LaunchError> {
    let patience = Some(gpu.patience);
    match gpu.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: patience }) {
        Ok(_) => Ok(()),
        Err(wgpu::PollError::Timeout) => Err(LaunchError::Hung(Seconds::new(gpu.patience.as_secs_f64()))),
        Err(error) => Err(LaunchError::Device(error.to_string())),
    }
}

/// Maps a buffer for reading, once all work that was submitted is done.
///
/// # Errors
/// As [`submitted`].
pub(in crate::measure) fn mapped(gpu: &Gpu, buffer: &wgpu::Buffer) -> Result<(), LaunchError> {
    let (sender, receiver) = mpsc::channel();
    buffer.slice(..).map_async(wgpu::MapMode::Read, move |result| {
        // The receiver is gone only if this function returned early, and then nobody waits.
        let _ = sender.send(result);
    });
    submitted(gpu)?;
    let lost = |message: String| LaunchError::Device(message);
    // The work is done; the callback may be on its way in another thread that polls the same device.
    let mapped = receiver.recv_timeout(Duration::from_secs(5)).map_err(|error| lost(error.to_string()))?;
    mapped.map_err(|error| lost(error.to_string()))
}
