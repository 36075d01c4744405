//! A kernel plan on the GPU: pipelines, buffers, one submission, its clocks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::gpu::Gpu;
use super::host::process_cpu_time;
use super::{Executor, Lap, LaunchError, Prepared};
use crate::kernels::{Launch, Need, POISON_WORD, Plan, Role, Tensors};
use crate::record::{Device, DeviceType};
use crate::units::Seconds;

/// The subgroup kernels share this many rows among the lanes of a subgroup.
const MIN_LANES: u64 = 8;
/// The cooperative-matrix kernels divide a tile among at least four subgroups of a workgroup of 256.
const MOST_MATRIX_LANES: u64 = 64;

/// Bytes of the block that buffers are poisoned from: few enough to upload for each plan, and enough that the largest
/// buffers take some hundred copies.
const POISON_BLOCK: u64 = 4 << 20;

impl Executor for Gpu {
    fn prepare(&self, plan: &Plan, inputs: &Tensors, sets: u32) -> Result<Box<dyn Prepared + '_>, LaunchError> {
        let scopes = Scopes::open(self);
        let prepared = GpuPlan::new(self, plan, inputs, sets.max(1));
        scopes.close()?;
        Ok(Box::new(prepared?))
    }
}

/// Catches what goes wrong inside as an error value; without it wgpu would panic.
struct Scopes<'a> {
    gpu: &'a Gpu,
    guards: Vec<wgpu::ErrorScopeGuard>,
}

impl<'a> Scopes<'a> {
    fn open(gpu: &'a Gpu) -> Self {
        let filters = [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation];
        Self { gpu, guards: filters.into_iter().map(|filter| gpu.device.push_error_scope(filter)).collect() }
    }

    fn close(self) -> Result<(), LaunchError> {
        let mut first = None;
        for guard in self.guards.into_iter().rev() {
            first = first.or(pollster::block_on(guard.pop()));
        }
        // A lost device refuses everything from then on, for reasons that name the call and not the loss.
        if let Some(why) = self.gpu.lost() {
            return Err(LaunchError::Device(one_line(&why)));
        }
        match first {
            None => Ok(()),
            Some(wgpu::Error::OutOfMemory { source }) => Err(LaunchError::OutOfMemory(one_line(&source.to_string()))),
            Some(error) => Err(LaunchError::Refused(one_line(&error.to_string()))),
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

struct GpuPlan<'a> {
    gpu: &'a Gpu,
    steps: Vec<Step>,
    selected: Range<usize>,
    buffers: BTreeMap<&'static str, wgpu::Buffer>,
    timestamps: Option<Timestamps>,
    sets: u32,
    next_set: u32,
    /// What the driver took for those pipelines that it had not compiled before.
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
        for buffer in &plan.buffers {
            let count = if matches!(buffer.role, Role::Input | Role::Rotated) { sets } else { 1 };
            let all: Vec<wgpu::Buffer> =
                (0..count).map(|_| storage_buffer(&gpu.device, buffer.name, buffer.size_bytes)).collect();
            match inputs.get(buffer.name) {
                Some(tensor) if buffer.role == Role::Input => upload(gpu, &all, tensor.bytes())?,
                _ => poisoned.extend(all.iter().cloned()),
            }
            buffers.insert(buffer.name, all[0].clone());
            copies.push(all);
        }
        poison(gpu, &poisoned);
        for (buffer, all) in plan.buffers.iter().zip(&copies).filter(|(buffer, _)| buffer.role != Role::Input) {
            clear(gpu, all, &buffer.padding);
        }
        let mut compilation = Duration::ZERO;
        for launch in &plan.launches {
            let begin = Instant::now();
            let pipeline = compile(gpu, launch)?;
            compilation += begin.elapsed();
            steps.push(Step::new(gpu, launch, pipeline, &copies, sets));
        }
        let timestamps = gpu.timestamp_period_ns.map(|period_ns| Timestamps::new(&gpu.device, period_ns));
        let selected = 0..steps.len();
        Ok(Self { gpu, steps, selected, buffers, timestamps, sets, next_set: 0, compilation, each: None })
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
        let ticks: Vec<u64> =
            bytes.chunks_exact(8).filter_map(|chunk| chunk.try_into().ok().map(u64::from_le_bytes)).collect();
        // A clock that runs backwards has nothing to say.
        Ok(ticks[1]
            .checked_sub(ticks[0])
            .filter(|elapsed| *elapsed > 0)
            .map(|elapsed| Seconds::new(elapsed as f64 * t.period_ns * 1e-9)))
    }
}

impl Prepared for GpuPlan<'_> {
    fn run(&mut self, runs: u32) -> Result<Lap, LaunchError> {
        let scopes = Scopes::open(self.gpu);
        let commands = self.encode(runs);
        let cpu_before = process_cpu_time();
        let start = Instant::now();
        self.gpu.queue.submit([commands]);
        let waited = wait(self.gpu);
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
        read_mapped(self.gpu, &readable)
    }

    fn compilation(&self) -> Seconds {
        Seconds::new(self.compilation.as_secs_f64())
    }

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

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Submissions that keep the device busy are about this long.
const BUSY: Seconds = Seconds::new(5e-3);

impl GpuPlan<'_> {
    /// Runs the plan until told otherwise. What goes wrong here goes wrong again in the next run that counts.
    fn keep_busy(&self, done: &AtomicBool) {
        let each = self.each.unwrap_or(BUSY).max(Seconds::new(1e-6));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before the cast")]
        let runs = (BUSY / each).clamp(1.0, 1000.0) as u32;
        while !done.load(Ordering::Relaxed) && self.gpu.lost().is_none() {
            self.gpu.queue.submit([self.encode_from(0, runs)]);
            if wait(self.gpu).is_err() {
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
        copies: &[Vec<wgpu::Buffer>],
        sets: u32,
    ) -> Self {
        let layout = pipeline.get_bind_group_layout(0);
        let params = params_buffer(gpu, launch);
        let mut groups = Vec::new();
        for set in 0..sets as usize {
            let storage = launch.bindings.iter().map(|&index| {
                let all = &copies[index];
                all.get(set).unwrap_or(&all[0]).as_entire_binding()
            });
            let resources = params.iter().map(wgpu::Buffer::as_entire_binding).chain(storage);
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

pub(super) fn compile(gpu: &Gpu, launch: &Launch) -> Result<wgpu::ComputePipeline, LaunchError> {
    let refuse = |message: String| LaunchError::Shader { shader: launch.shader, message: one_line(&message) };
    // Only what the shader is to blame for.
    let refused = |error| if let LaunchError::Refused(message) = error { refuse(message) } else { error };
    let source = launch.wgsl().ok_or_else(|| refuse("no such file".to_owned()))?;
    let key = format!("{:?}\n{source}", launch.overrides);
    if let Some(pipeline) = gpu.pipelines.lock().ok().and_then(|pipelines| pipelines.get(&key).cloned()) {
        return Ok(pipeline);
    }
    let scopes = Scopes::open(gpu);
    let module = shader_module(gpu, launch.shader, source);
    scopes.close().map_err(refused)?;
    let constants: Vec<(&str, f64)> = launch.overrides.iter().map(|(name, value)| (*name, *value)).collect();
    let scopes = Scopes::open(gpu);
    let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(launch.shader),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &constants,
            zero_initialize_workgroup_memory: gpu.runtime_checks,
        },
        cache: None,
    });
    scopes.close().map_err(refused)?;
    if let Ok(mut pipelines) = gpu.pipelines.lock() {
        pipelines.insert(key, pipeline.clone());
    }
    Ok(pipeline)
}

/// With checks wgpu bounds every index and every loop, which halves the rate of tight loops and is no part of a kernel.
#[expect(
    unsafe_code,
    reason = "the shaders are our own, and the tests run every one of them with all checks on and compares the results"
)]
fn shader_module(gpu: &Gpu, label: &str, source: Cow<'static, str>) -> wgpu::ShaderModule {
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(source) };
    if gpu.runtime_checks {
        return gpu.device.create_shader_module(descriptor);
    }
    // SAFETY: indices stay inside the buffers that the plan sizes, and every loop ends; see the reason above.
    unsafe { gpu.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}

fn params_buffer(gpu: &Gpu, launch: &Launch) -> Option<wgpu::Buffer> {
    if launch.params.is_empty() {
        return None;
    }
    let mut bytes: Vec<u8> = launch.params.iter().flat_map(|(_, value)| value.to_le_bytes()).collect();
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("params"),
        size: bytes.len() as u64,
        usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    gpu.queue.write_buffer(&buffer, 0, &bytes);
    Some(buffer)
}

fn storage_buffer(device: &wgpu::Device, name: &str, size: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(name),
        size,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    })
}

/// Fills buffers on the device, from a block of its own: a copy may not stay within one buffer.
fn poison(gpu: &Gpu, buffers: &[wgpu::Buffer]) {
    let largest = buffers.iter().map(wgpu::Buffer::size).max().unwrap_or(0);
    let block = storage_buffer(&gpu.device, "poison", largest.clamp(4, POISON_BLOCK));
    let words = usize::try_from(block.size() / 4).unwrap_or(0);
    gpu.queue.write_buffer(&block, 0, &POISON_WORD.to_le_bytes().repeat(words));
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
}

/// Zeros these bytes of each copy.
fn clear(gpu: &Gpu, copies: &[wgpu::Buffer], bytes: &Range<u64>) {
    if bytes.is_empty() {
        return;
    }
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    for copy in copies {
        encoder.clear_buffer(copy, bytes.start, Some(bytes.end - bytes.start));
    }
    gpu.queue.submit([encoder.finish()]);
}

/// Writes the first copy from the host, in pieces that do not double the memory, and the others from the first. A piece
/// waits for the one before: on their way they lie where host and device both see, which may be a window of 256 MiB.
fn upload(gpu: &Gpu, copies: &[wgpu::Buffer], bytes: &[u8]) -> Result<(), LaunchError> {
    const PIECE: usize = 64 << 20;
    let first = &copies[0];
    for (index, piece) in bytes.chunks(PIECE).enumerate() {
        gpu.queue.write_buffer(first, (index * PIECE) as u64, piece);
        gpu.queue.submit([]);
        wait(gpu)?;
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

fn wait(gpu: &Gpu) -> Result<(), LaunchError> {
    let patience = Some(gpu.patience);
    match gpu.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: patience }) {
        Ok(_) => Ok(()),
        Err(wgpu::PollError::Timeout) => Err(LaunchError::Hung(Seconds::new(gpu.patience.as_secs_f64()))),
        Err(error) => Err(LaunchError::Device(error.to_string())),
    }
}

fn read_mapped(gpu: &Gpu, buffer: &wgpu::Buffer) -> Result<Vec<u8>, LaunchError> {
    let (sender, receiver) = mpsc::channel();
    buffer.slice(..).map_async(wgpu::MapMode::Read, move |result| {
        // The receiver is gone only if this function returned early, and then nobody waits.
        let _ = sender.send(result);
    });
    wait(gpu)?;
    let lost = |message: String| LaunchError::Device(message);
    // The work is done; the callback may be on its way in another thread that polls the same device.
    let mapped = receiver.recv_timeout(Duration::from_secs(5)).map_err(|error| lost(error.to_string()))?;
    mapped.map_err(|error| lost(error.to_string()))?;
    let bytes = buffer.slice(..).get_mapped_range().map_err(|error| lost(error.to_string()))?.to_vec();
    buffer.unmap();
    Ok(bytes)
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

/// What a plan needs that the device lacks, in words.
pub fn missing(plan: &Plan, device: &Device) -> Option<String> {
    let lacks = |feature: &str| !device.features.iter().any(|has| has == feature);
    for launch in &plan.launches {
        let mut features = launch.needs.iter().filter_map(|need| feature(*need));
        if let Some(feature) = features.find(|feature| lacks(feature)) {
            return Some(format!("the adapter lacks the feature {feature}"));
        }
        let matrix = launch.needs.contains(&Need::Matrix8) || launch.needs.contains(&Need::Matrix16);
        if launch.needs.contains(&Need::Subgroup)
            && let Some(problem) = subgroups_unfit(device, matrix)
        {
            return Some(problem);
        }
        let bindings = launch.bindings.len() as u64;
        let most = device.limits.get("max_storage_buffers_per_shader_stage").copied().unwrap_or(u64::MAX);
        if bindings > most {
            return Some(format!("needs {bindings} storage buffers, the adapter's limit is {most}"));
        }
    }
    None
}

/// The adapter's feature for a need; `None` if every adapter has it. The matrices have f16 operands and f32 sums: Metal
/// also has them with f32 operands, but no kernel uses those yet.
fn feature(need: Need) -> Option<&'static str> {
    match need {
        Need::ShaderF16 => Some("shader_f16"),
        Need::Subgroup => Some("subgroup"),
        Need::Matrix8 => Some("cooperative_matrix_8x8x8_f16_f32"),
        Need::Matrix16 => Some("cooperative_matrix_16x16x16_f16_f32"),
        Need::PackedDot => None,
    }
}

/// Why kernels with subgroups cannot run in those of this device, if they cannot.
fn subgroups_unfit(device: &Device, matrix: bool) -> Option<String> {
    let seen = !device.subgroup_sizes_seen.is_empty();
    let have = if seen { "the device has" } else { "the adapter may have" };
    let (least, most) = device.subgroup_sizes().unwrap_or((0, 0));
    if least < MIN_LANES {
        return Some(format!("needs subgroups of {MIN_LANES} invocations, {have} some of {least}"));
    }
    (matrix && most > MOST_MATRIX_LANES)
        .then(|| format!("needs subgroups of at most {MOST_MATRIX_LANES} invocations, {have} some of {most}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kernels::matmul::Matmul;
    use crate::kernels::probes::{FmaForm, FmaProbe, LaunchProbe};
    use crate::kernels::{Element, Kernel};
    use crate::measure::gpu::{Selection, select};

    /// Multiply-adds for some hundred milliseconds on a software adapter.
    const LONG: FmaProbe = FmaForm::Chains.probe(1 << 16, 512);

    fn open() -> Gpu {
        select(&Selection::default()).unwrap().open(false).unwrap()
    }

    fn prepare<'a>(gpu: &'a Gpu, probe: &dyn Kernel) -> Result<Box<dyn Prepared + 'a>, LaunchError> {
        let plan = probe.plan("probe", Element::F32);
        gpu.prepare(&plan, &probe.inputs("probe", Element::F32, 1), 1)
    }

    #[test]
    fn a_lost_device_is_told_from_a_refused_launch_and_another_opening_works() {
        let gpu = open();
        let mut prepared = prepare(&gpu, &LaunchProbe).unwrap();
        prepared.run(1).unwrap();
        gpu.device.destroy();
        let error = prepared.run(1).unwrap_err();
        assert!(matches!(error, LaunchError::Device(_)), "{error:?}");
        let error = prepare(&gpu, &LaunchProbe).err();
        assert!(matches!(error, Some(LaunchError::Device(_))), "{error:?}");
        prepare(&open(), &LaunchProbe).unwrap().run(1).unwrap();
    }

    #[test]
    fn a_device_that_does_not_answer_in_time_is_given_up_and_another_opening_works() {
        let mut gpu = open();
        // Enough for the upload.
        gpu.patience = Duration::from_millis(100);
        let error = prepare(&gpu, &LONG).unwrap().run(1000).unwrap_err();
        assert!(matches!(error, LaunchError::Hung(_)), "{error:?}");
        // As a session does: closing it would wait.
        std::mem::forget(gpu);
        prepare(&open(), &LaunchProbe).unwrap().run(1).unwrap();
    }
    /// A device with every feature, as one that reports such a range of subgroup sizes and ran in those seen.
    fn with_subgroups(reported: [u64; 2], seen: &[u32]) -> Device {
        let features = ["subgroup", "shader_f16", "cooperative_matrix", "cooperative_matrix_8x8x8_f16_f32"];
        let limits = ["min_subgroup_size", "max_subgroup_size"].map(str::to_owned).into_iter().zip(reported);
        Device {
            features: features.map(str::to_owned).to_vec(),
            limits: limits.collect(),
            subgroup_sizes_seen: seen.to_vec(),
            ..Device::default()
        }
    }

    /// Whether each of a kernel with subgroups and one with matrices of 8 x 8 can run.
    fn offered(device: &Device) -> [bool; 2] {
        let matmul = Matmul::dense(64, 64, 64);
        ["subgroup_16x64", "matrix8_64x128"]
            .map(|variant| missing(&matmul.plan(variant, Element::F16), device).is_none())
    }

    #[test]
    fn subgroups_of_32_on_metal_are_offered_though_the_adapter_reports_4_to_64() {
        // Apple's M2 through wgpu 30.
        assert_eq!(offered(&with_subgroups([4, 64], &[32])), [true, true]);
        assert_eq!(offered(&with_subgroups([4, 64], &[])), [false, false], "nothing seen");
    }

    #[test]
    fn a_device_that_ran_subgroups_too_small_or_too_large_is_refused_whatever_it_reports() {
        assert_eq!(offered(&with_subgroups([32, 32], &[4])), [false, false]);
        assert_eq!(offered(&with_subgroups([32, 32], &[4, 32])), [false, false], "some of them");
        assert_eq!(offered(&with_subgroups([32, 32], &[128])), [true, false], "matrices share a tile among four");
        assert_eq!(offered(&with_subgroups([64, 128], &[])), [true, false], "nothing seen");
        assert_eq!(offered(&with_subgroups([64, 128], &[64])), [true, true]);
    }

    #[test]
    fn buffers_that_nothing_wrote_hold_poison_to_their_last_word() {
        let gpu = open();
        for size in [4, 16, POISON_BLOCK - 4, POISON_BLOCK, POISON_BLOCK + 4, 3 * POISON_BLOCK + 20] {
            let mut plan = LaunchProbe.plan("probe", Element::F32);
            plan.buffers[1].size_bytes = size;
            let inputs = LaunchProbe.inputs("probe", Element::F32, 1);
            let bytes = gpu.prepare(&plan, &inputs, 1).unwrap().read("echo").unwrap();
            assert_eq!(bytes.len() as u64, size);
            assert!(bytes.as_chunks().0.iter().all(|word| u32::from_le_bytes(*word) == POISON_WORD), "{size}");
        }
    }
}
