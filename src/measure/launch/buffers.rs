//! Buffers of a plan: made, poisoned, filled, read back.

use super::super::executor::LaunchError;
use super::super::gpu::Gpu;
use super::super::waiting;
use crate::kernels::{Launch, POISON_WORD};

/// Bytes of the block that buffers are poisoned from. It is small enough to upload for each plan, and large enough that the
/// largest buffers take a few hundred copies.
pub(super) const POISON_BLOCK: u64 = 4 << 20;

/// Buffers that end with their owner. A browser keeps what is only dropped until its collector runs, which may be after the
/// memory ran out.
#[derive(Default)]
pub(super) struct Owned(Vec<wgpu::Buffer>);

impl Owned {
    pub(super) fn add<'b>(&mut self, buffers: impl IntoIterator<Item = &'b wgpu::Buffer>) {
        self.0.extend(buffers.into_iter().cloned());
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // What was submitted still runs to its end.
        self.0.iter().for_each(wgpu::Buffer::destroy);
    }
}

pub(super) fn params_buffer(gpu: &Gpu, launch: &Launch) -> Option<wgpu::Buffer> {
    if launch.params.is_empty() {
        return None;
    }
    let mut words: Vec<u32> = launch.params.iter().map(|(_, value)| *value).collect();
    words.resize(words.len().next_multiple_of(4), 0);
    let bytes: &[u8] = bytemuck::must_cast_slice(&words);
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("params"),
        size: bytes.len() as u64,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    gpu.queue.write_buffer(&buffer, 0, bytes);
    Some(buffer)
}

pub(super) fn storage_buffer(device: &wgpu::Device, name: &str, size: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(name),
        size,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// Fills buffers with poison on the device. The source is a block of its own, because no copy may stay within one buffer.
pub(super) fn poison(gpu: &Gpu, buffers: &[wgpu::Buffer]) {
    let largest = buffers.iter().map(wgpu::Buffer::size).max().unwrap_or(0);
    let block = storage_buffer(&gpu.device, "poison", largest.clamp(4, POISON_BLOCK));
    let words = usize::try_from(block.size() / 4).unwrap_or(0);
    gpu.queue.write_buffer(&block, 0, bytemuck::must_cast_slice(&vec![POISON_WORD; words]));
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    for buffer in buffers {
        let mut filled = 0;
        while filled < buffer.size() {
            let size = block.size().min(buffer.size() - filled);
            encoder.copy_buffer_to_buffer(&block, 0, buffer, filled, size);
            filled += size;
        }
    }
    gpu.queue.submit([encoder.finish()]);
    block.destroy();
}

/// Writes the first copy from the host and the others from the first. The host writes in pieces, so that memory is not needed
/// twice. Each piece waits for the one before, because both may have to fit a shared window of 256 MiB.
pub(super) fn upload(gpu: &Gpu, copies: &[wgpu::Buffer], bytes: &[u8]) -> Result<(), LaunchError> {
    const PIECE: usize = 64 << 20;
    let first = &copies[0];
    for (index, piece) in bytes.chunks(PIECE).enumerate() {
        gpu.queue.write_buffer(first, (index * PIECE) as u64, piece);
        gpu.queue.submit([]);
        waiting::submitted(gpu)?;
    }
    if copies.len() > 1 {
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for copy in &copies[1..] {
            encoder.copy_buffer_to_buffer(first, 0, copy, 0, first.size());
        }
        gpu.queue.submit([encoder.finish()]);
    }
    Ok(())
}

pub(super) fn read_mapped(gpu: &Gpu, buffer: &wgpu::Buffer) -> Result<Vec<u8>, LaunchError> {
    waiting::mapped(gpu, buffer)?;
    let range = buffer.slice(..).get_mapped_range();
    let bytes = range.map_err(|error| LaunchError::Device(error.to_string()))?.to_vec();
    buffer.unmap();
    Ok(bytes)
}
