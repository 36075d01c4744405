//! A kernel plan on the GPU: pipelines, buffers, one submission, its clocks.

mod buffers;
mod pipeline;

use std::collections::BTreeMap;
use std::ops::Range;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use web_time::Instant;

use self::buffers::{Owned, params_buffer, poison, read_mapped, storage_buffer, upload};
use self::pipeline::Scopes;
pub(super) use self::pipeline::compile;
use super::executor::{Executor, Lap, LaunchError, Prepared};
use super::gpu::Gpu;
use super::host::process_cpu_time;
use super::waiting;
use crate::kernels::{Launch, Plan, Role, Tensors};
#[cfg(not(target_arch = "wasm32"))]
use crate::record::DeviceType;
use crate::units::Seconds;

impl Executor for Gpu {
    fn prepare(&self, plan: &Plan, inputs: &Tensors, sets: u32) -> Result<Box<dyn Prepared + '_>, LaunchError> {
        let scopes = Scopes::open(self);
        let prepared = GpuPlan::new(self, plan, inputs, sets.max(1));
        scopes.close()?;
        Ok(Box::new(prepared?))
    }
}

struct GpuPlan<'a> {
    gpu: &'a Gpu,
    steps: Vec<Step>,
    selected: Range<usize>,
    buffers: BTreeMap<&'static str, wgpu::Buffer>,
    /// All of them, each copy included.
    _owned: Owned,
    timestamps: Option<Timestamps>,
    sets: u32,
    next_set: u32,
    /// The time in which the driver compiled those pipelines that it had not compiled before.
    compilation: Duration,
    /// The last lap, per run.
    each: Option<Seconds>,
}

/// One launch with a bind group for each set of inputs.
struct Step {
    pipeline: wgpu::ComputePipeline,
    groups: Vec<wgpu::BindGroup>,
    grid: [u32; 3],
}

struct Timestamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
    period_ns: f64,
}

impl<'a> GpuPlan<'a> {
    fn new(gpu: &'a Gpu, plan: &Plan, inputs: &Tensors, sets: u32) -> Result<Self, LaunchError> {
        let mut steps = Vec::new();
        let mut buffers = BTreeMap::new();
        // Inputs have a copy per set; other buffers are shared, which also keeps runs of one sample in order.
        let mut copies: Vec<Vec<wgpu::Buffer>> = Vec::new();
        let mut poisoned = Vec::new();
        let mut owned = Owned::default();
        for buffer in &plan.buffers {
            let count = if matches!(buffer.role, Role::Input | Role::Rotated) { sets } else { 1 };
            let all: Vec<wgpu::Buffer> =
                (0..count).map(|_| storage_buffer(&gpu.device, buffer.name, buffer.size_bytes)).collect();
            owned.add(&all);
            match inputs.get(buffer.name) {
                Some(tensor) if buffer.role == Role::Input => upload(gpu, &all, tensor.bytes())?,
                _ => poisoned.extend(all.iter().cloned()),
            }
            buffers.insert(buffer.name, all[0].clone());
            copies.push(all);
        }
        poison(gpu, &poisoned);
        let mut compilation = Duration::ZERO;
        for launch in &plan.launches {
            let begin = Instant::now();
            let pipeline = compile(gpu, launch)?;
            compilation += begin.elapsed();
            let params = params_buffer(gpu, launch);
            owned.add(&params);
            steps.push(Step::new(gpu, launch, pipeline, params.as_ref(), &copies, sets));
        }
        let timestamps = gpu.timestamp_period_ns.map(|period_ns| Timestamps::new(&gpu.device, period_ns));
        owned.add(timestamps.iter().flat_map(|t| [&t.resolved, &t.readable]));
        let selected = 0..steps.len();
        let (next_set, each) = (0, None);
        Ok(Self { gpu, steps, selected, buffers, _owned: owned, timestamps, sets, next_set, compilation, each })
    }

    fn encode(&mut self, runs: u32) -> wgpu::CommandBuffer {
        let commands = self.encode_from(self.next_set, runs);
        self.next_set = (self.next_set + runs) % self.sets;
        commands
    }

    /// `runs` runs of the selected launches, the first on the inputs of `set`.
    fn encode_from(&self, mut set: u32, runs: u32) -> wgpu::CommandBuffer {
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: self.timestamps.as_ref().map(|t| wgpu::ComputePassTimestampWrites {
                    query_set: &t.queries,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                }),
            });
            for _ in 0..runs {
                for step in self.steps.get(self.selected.clone()).unwrap_or_default() {
                    pass.set_pipeline(&step.pipeline);
                    pass.set_bind_group(0, &step.groups[set as usize], &[]);
                    pass.dispatch_workgroups(step.grid[0], step.grid[1], step.grid[2]);
                }
                set = (set + 1) % self.sets;
            }
        }
        if let Some(t) = &self.timestamps {
            encoder.resolve_query_set(&t.queries, 0..2, &t.resolved, 0);
            encoder.copy_buffer_to_buffer(&t.resolved, 0, &t.readable, 0, 16);
        }
        encoder.finish()
    }

    fn device_time(&self) -> Result<Option<Seconds>, LaunchError> {
        let Some(t) = &self.timestamps else { return Ok(None) };
        let bytes = read_mapped(self.gpu, &t.readable)?;
        // The range may be mapped at any address, so the words are copied and not cast in place.
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        // A clock that runs backwards says nothing.
        let elapsed = ticks[1].checked_sub(ticks[0]).filter(|elapsed| *elapsed > 0);
        Ok(elapsed.map(|elapsed| Seconds::new(elapsed as f64 * t.period_ns * 1e-9)))
    }
}

impl Prepared for GpuPlan<'_> {
    fn run(&mut self, runs: u32) -> Result<Lap, LaunchError> {
        let scopes = Scopes::open(self.gpu);
        let commands = self.encode(runs);
        let cpu_before = process_cpu_time();
        let start = Instant::now();
        self.gpu.queue.submit([commands]);
        let waited = waiting::submitted(self.gpu);
        let wall = Seconds::new(start.elapsed().as_secs_f64());
        let cpu = cpu_before.and_then(|before| process_cpu_time().map(|after| after - before));
        scopes.close()?;
        waited?;
        let device = self.device_time()?;
        self.each = Some(device.unwrap_or(wall) / f64::from(runs.max(1)));
        Ok(Lap { device, wall, cpu })
    }

    fn select(&mut self, launches: Option<Range<usize>>) {
        self.selected = launches.unwrap_or(0..self.steps.len());
    }

    fn read(&mut self, buffer: &str) -> Result<Vec<u8>, LaunchError> {
        let Some(source) = self.buffers.get(buffer) else {
            return Err(LaunchError::Refused(format!("the plan has no buffer {buffer}")));
        };
        let scopes = Scopes::open(self.gpu);
        let readable = self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read back"),
            size: source.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(source, 0, &readable, 0, source.size());
        self.gpu.queue.submit([encoder.finish()]);
        scopes.close()?;
        let bytes = read_mapped(self.gpu, &readable);
        readable.destroy();
        bytes
    }

    fn compilation(&self) -> Seconds {
        Seconds::new(self.compilation.as_secs_f64())
    }

    /// A browser has one thread for both.
    #[cfg(not(target_arch = "wasm32"))]
    fn meanwhile(&mut self, work: &mut (dyn FnMut() + Send)) {
        // A CPU that poses as a GPU would take its time from the work.
        if self.gpu.info.device_type == DeviceType::Software {
            return work();
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Set however the work ends, so that the other thread does too.
            let _ends = SetOnDrop(&done);
            scope.spawn(|| self.keep_busy(&done));
            work();
        });
    }
}

#[cfg(not(target_arch = "wasm32"))]
struct SetOnDrop<'a>(&'a AtomicBool);

#[cfg(not(target_arch = "wasm32"))]
impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Submissions that keep the device busy are about this long.
#[cfg(not(target_arch = "wasm32"))]
const BUSY: Seconds = Seconds::new(5e-3);

#[cfg(not(target_arch = "wasm32"))]
impl GpuPlan<'_> {
    /// Runs the plan until the flag is set. An error is dropped here: it comes up again in the next run that counts.
    fn keep_busy(&self, done: &AtomicBool) {
        let each = self.each.unwrap_or(BUSY).max(Seconds::new(1e-6));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before the cast")]
        let runs = (BUSY / each).clamp(1.0, 1000.0) as u32;
        while !done.load(Ordering::Relaxed) && self.gpu.lost().is_none() {
            self.gpu.queue.submit([self.encode_from(0, runs)]);
            if waiting::submitted(self.gpu).is_err() {
                return;
            }
        }
    }
}

impl Step {
    fn new(
        gpu: &Gpu,
        launch: &Launch,
        pipeline: wgpu::ComputePipeline,
        params: Option<&wgpu::Buffer>,
        copies: &[Vec<wgpu::Buffer>],
        sets: u32,
    ) -> Self {
        let layout = pipeline.get_bind_group_layout(0);
        let mut groups = Vec::new();
        for set in 0..sets as usize {
            let storage = launch.bindings.iter().map(|&index| {
                let all = &copies[index];
                all.get(set).unwrap_or(&all[0]).as_entire_binding()
            });
            let resources = params.into_iter().map(wgpu::Buffer::as_entire_binding).chain(storage);
            let entries: Vec<wgpu::BindGroupEntry> =
                (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
            groups.push(gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(launch.shader),
                layout: &layout,
                entries: &entries,
            }));
        }
        Self { pipeline, groups, grid: launch.grid }
    }
}

impl Timestamps {
    fn new(device: &wgpu::Device, period_ns: f64) -> Self {
        let buffer = |label, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size: 16,
                usage,
                mapped_at_creation: false,
            })
        };
        Self {
            queries: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            }),
            resolved: buffer("timestamps", wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            readable: buffer("read timestamps", wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            period_ns,
        }
    }
}
