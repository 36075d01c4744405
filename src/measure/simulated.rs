//! Simulated devices, made from profiles: a whole session runs on each within a second.
//!
//! Time is a number that work increases. A device's clock rises under load and falls when it is idle. The device compiles,
//! stops long submissions by its watchdog, and refuses what exceeds its limits or its memory. Kernels reach assumed shares
//! of its roofs. Nothing is computed, and the results are always right.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::estimate::HostRates;
use super::executor::{Executor, Lap, LaunchError, Prepared};
use super::options::EFFORT;
use super::planning::PlannedCase;
use super::roofs::Limits;
use crate::kernels::cases::CaseSpec;
use crate::kernels::{
    BestVariant, Computed, Extent, Kernel, Operation, Output, Plan, Role, StorageType, Tensors, Verification, Work,
};
use crate::record::{
    CachePoint, CacheState, Ceiling, CeilingKind, Device, DeviceType, LastLevelCache, MemorySource, Record, Timing,
};
use crate::specs::DeviceProfile;
use crate::units::{Bytes, BytesPerSecond, Flop, Seconds};

/// A kernel's shape without its numbers: operands are empty and results always right.
#[derive(Debug)]
struct Hollow(Arc<dyn Kernel>);

fn hollow(kernel: Box<dyn Kernel>) -> Box<dyn Kernel> {
    Box::new(Hollow(kernel.into()))
}

fn right() -> Verification {
    Verification::exact()
}

impl Kernel for Hollow {
    fn name(&self) -> &'static str {
        self.0.name()
    }
    fn shape(&self) -> BTreeMap<String, u64> {
        self.0.shape()
    }
    fn variants(&self) -> &'static [&'static str] {
        self.0.variants()
    }
    fn elements(&self) -> &'static [StorageType] {
        self.0.elements()
    }
    fn variant_elements(&self, variant: &str) -> &'static [StorageType] {
        self.0.variant_elements(variant)
    }
    fn suits(&self, variant: &str) -> bool {
        self.0.suits(variant)
    }
    fn smaller(&self, most: Extent) -> Option<Box<dyn Kernel>> {
        self.0.smaller(most).map(hollow)
    }
    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        self.0.fewer_rows().map(hollow)
    }
    fn narrower(&self) -> Option<Box<dyn Kernel>> {
        self.0.narrower().map(hollow)
    }
    fn with_parts(&self, element: StorageType, best: &BestVariant) -> Option<Box<dyn Kernel>> {
        self.0.with_parts(element, best).map(hollow)
    }
    fn plan(&self, variant: &str, element: StorageType) -> Plan {
        self.0.plan(variant, element)
    }
    fn inputs(&self, _variant: &str, _element: StorageType, _seed: u64) -> Tensors {
        Tensors::new()
    }
    fn outputs(&self, _variant: &str, _element: StorageType) -> Vec<Output> {
        Vec::new()
    }
    fn verify(&self, _inputs: &Tensors, _outputs: &Tensors, _element: StorageType, _effort: u64) -> Verification {
        right()
    }
    fn agreement(&self, _ours: Computed, _theirs: Computed, _element: StorageType) -> Verification {
        right()
    }
}

/// The same cases without their numbers.
pub(super) fn hollowed(planned: Vec<PlannedCase>) -> Vec<PlannedCase> {
    let one = |case: PlannedCase| {
        let kernel: Arc<dyn Kernel> = Arc::new(Hollow(Arc::clone(&case.spec.kernel)));
        let spec = CaseSpec { kernel, ..(*case.spec).clone() };
        PlannedCase { spec: Arc::new(spec), ..case }
    };
    planned.into_iter().map(one).collect()
}

/// What a record would say about the device.
pub(super) fn device(profile: &DeviceProfile) -> Device {
    let discrete = profile.device_type == "discrete";
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size of memory")]
    let memory_bytes = profile.memory.capacity_bytes.value as u64;
    Device {
        name: profile.adapter.clone(),
        vendor: profile.vendor.clone(),
        vendor_id: profile.vendor_id,
        device_id: profile.device_id,
        driver: profile.driver.clone(),
        driver_info: profile.driver_info.clone(),
        backend: profile.backend.clone(),
        device_type: if discrete { DeviceType::Discrete } else { DeviceType::Integrated },
        features: profile.features.clone(),
        limits: profile.limits.clone(),
        subgroup_sizes_seen: profile.subgroup_sizes_seen.clone(),
        memory_bytes: Some(memory_bytes),
        memory_source: Some(if discrete { MemorySource::DeviceHeap } else { MemorySource::HostMemory }),
        ..Device::default()
    }
}

/// The roofs as they would be measured.
pub(super) fn ceilings(profile: &DeviceProfile) -> BTreeMap<CeilingKind, Ceiling> {
    let rates = &profile.rates;
    let time = Seconds::new(1e-3);
    let timing = Timing::of(vec![time]);
    let ceiling = |value: f64, work: Work| Ceiling::of(value, work, right(), timing.clone());
    let mut found = BTreeMap::from([
        (CeilingKind::FmaF32, ceiling(rates.fma_f32_flop_per_s.value, Work::default())),
        (CeilingKind::FmaF16, ceiling(rates.fma_f16_flop_per_s.value, Work::default())),
        (CeilingKind::DotI8, ceiling(rates.dot_i8_op_per_s.value, Work::default())),
        (CeilingKind::MemoryRead, ceiling(rates.memory_bytes_per_s.value, Work::default())),
        (CeilingKind::Launch, ceiling(rates.launch_s.value, Work::default())),
        (CeilingKind::Submit, ceiling(rates.submit_s.value, Work::default())),
    ]);
    found.extend(
        rates.matrix_f16_flop_per_s.as_ref().map(|r| (CeilingKind::MatrixF16, ceiling(r.value, Work::default()))),
    );
    let cache = Bytes::new(profile.memory.last_level_cache_bytes.value);
    let read = ceiling(rates.cache_bytes_per_s.value, Work::default());
    let last_level_cache = Some(LastLevelCache::Measured { bytes: cache });
    let bytes_per_s = BytesPerSecond::new(read.value);
    let points = vec![CachePoint { working_set_bytes: cache, bytes_per_s, invocations: 1 << 14 }];
    let read = Ceiling { working_set_bytes: Some(cache), last_level_cache, points, ..read };
    found.insert(CeilingKind::CacheRead, read);
    found
}

/// Shares of a roof that kernels are taken to reach, by shader: assumed, from what the review expects of each.
const SHARES: &[(&str, f64)] = &[
    ("matmul_matrix", 0.3),
    ("attention_prefill_matrix", 0.25),
    ("matmul_tiled", 0.45),
    ("streamed", 0.7),
    ("attention_decode_group", 0.6),
    ("attention_decode_mla_matrix", 0.25),
    ("attention_decode_mla_tiled", 0.15),
    ("attention_prefill_tiled", 0.15),
    ("matmul_subgroup", 0.2),
    ("matmul_blocked", 0.2),
    ("_row", 0.05),
    ("attention", 0.06),
    ("gate_subgroup", 0.4),
    ("gate", 0.15),
    ("probe", 1.0),
];

/// Workgroups of 8 leave most of a wide subgroup idle.
const NARROW: f64 = 0.2;

/// What was seen of a device in a session.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The longest submission that was made, and of which shader.
    pub(super) longest: (f64, &'static str),
    /// The most bytes of buffers at once.
    pub(super) most_bytes: u64,
    /// The largest buffer.
    pub(super) largest_buffer: u64,
    /// Submissions that took longer than the system allows.
    pub(super) watchdog: usize,
    /// Seconds since the session began.
    pub(super) now: f64,
    /// Pipelines that the driver has.
    compiled: BTreeSet<String>,
}

/// A device of a profile.
pub(super) struct SimulatedDevice {
    profile: DeviceProfile,
    host: HostRates,
    /// The record's roofs, under which kernels are timed.
    under: Record,
    pub(super) seen: RefCell<Seen>,
    bytes: Cell<u64>,
    /// Busy time since the clock was last lost, and when the device was last busy.
    busy: Cell<f64>,
    last: Cell<f64>,
}

impl SimulatedDevice {
    pub(super) fn new(profile: DeviceProfile, under: Record) -> Rc<Self> {
        let host = HostRates::of(profile.host.cores.value, BytesPerSecond::new(profile.host.upload_bytes_per_s.value));
        Rc::new(Self {
            profile,
            host,
            under,
            seen: RefCell::default(),
            bytes: Cell::new(0),
            busy: Cell::new(0.0),
            last: Cell::new(f64::NEG_INFINITY),
        })
    }

    pub(super) fn host(&self) -> &HostRates {
        &self.host
    }

    /// One run of a whole plan at the full clock.
    pub(super) fn run_at_full_clock(&self, plan: &Plan) -> f64 {
        self.full_clock(plan, &(0..plan.launches.len()))
    }

    fn now(&self) -> f64 {
        self.seen.borrow().now
    }

    fn pass(&self, seconds: f64) {
        self.seen.borrow_mut().now += seconds;
    }

    /// Time that work of `full` seconds at the full clock takes now; the clock rises while it does.
    fn work(&self, full: f64) -> f64 {
        let clock = &self.profile.clock;
        if self.now() - self.last.get() > clock.fall_s.value {
            self.busy.set(0.0);
        }
        let slow = (clock.rise_s.value - self.busy.get()).max(0.0);
        // The work of the slow part, in seconds at the full clock.
        let done = slow * clock.idle_share.value;
        let taken = if full <= done { full / clock.idle_share.value } else { slow + full - done };
        self.busy.set(self.busy.get() + taken);
        self.pass(taken);
        self.last.set(self.now());
        taken
    }

    /// One run of launches at the full clock.
    fn full_clock(&self, plan: &Plan, launches: &Range<usize>) -> f64 {
        let part = plan.parts.iter().find(|part| part.launches == *launches);
        let operations: BTreeMap<Operation, Flop> =
            part.map_or_else(|| plan.operations(), |part| part.operations.clone());
        let of_plan = Limits::of_case(plan, &operations, CacheState::Cold);
        let work = part.map_or(of_plan.work, |part| &part.work);
        let (roofline, _) = Limits { work, launches: launches.len(), ..of_plan }.roofline(&self.under);
        let shader = plan.launches[launches.clone()].iter().map(|launch| launch.shader);
        let share = shader.map(|shader| self.share(plan, shader)).fold(1.0, f64::min);
        roofline.get() / share
    }

    fn share(&self, plan: &Plan, shader: &str) -> f64 {
        let share = SHARES.iter().find(|(part, _)| shader.contains(part)).map_or(0.3, |(_, share)| *share);
        let narrow = plan.launches.iter().any(|launch| {
            let width = launch.overrides.get("WORKGROUP").or(launch.overrides.get("WIDTH"));
            launch.shader == shader && width.is_some_and(|width| *width <= 8.0)
        });
        if narrow { share * NARROW } else { share }
    }

    /// Compiles what is new; the worst of the kernels are those with subgroups in attention.
    fn compile(&self, plan: &Plan) -> f64 {
        let driver = &self.profile.driver_behaviour;
        let compiled = &mut self.seen.borrow_mut().compiled;
        let mut time = 0.0;
        for launch in &plan.launches {
            let key = format!("{} {:?} {:?} {:?}", launch.shader, launch.element, launch.constants, launch.overrides);
            if compiled.insert(key) {
                let slow = launch.shader.starts_with("attention") && launch.shader.contains("subgroup");
                time += if slow { driver.slow_compilation_s.value } else { driver.compilation_s.value };
            }
        }
        time
    }
}

/// A plan on the device.
struct Ready<'a> {
    machine: &'a SimulatedDevice,
    plan: Plan,
    selected: Range<usize>,
    bytes: u64,
    compilation: f64,
    /// The time of one run of the selected launches at the full clock.
    each: f64,
    verified: bool,
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        self.machine.bytes.set(self.machine.bytes.get() - self.bytes);
    }
}

impl Executor for Rc<SimulatedDevice> {
    fn prepare(&self, plan: &Plan, _inputs: &Tensors, sets: u32) -> Result<Box<dyn Prepared + '_>, LaunchError> {
        let machine = self.as_ref();
        let largest = plan.largest_buffer_bytes();
        let limit = machine.profile.limits["max_storage_buffer_binding_size"];
        if largest > limit {
            return Err(LaunchError::Refused(format!("a buffer of {largest} bytes exceeds the limit of {limit}")));
        }
        let inputs = plan.input_bytes();
        let bytes = inputs * u64::from(sets - 1) + plan.total_bytes();
        machine.bytes.set(machine.bytes.get() + bytes);
        {
            let mut seen = machine.seen.borrow_mut();
            seen.largest_buffer = seen.largest_buffer.max(largest);
            seen.most_bytes = seen.most_bytes.max(machine.bytes.get());
        }
        // The host draws operands and uploads them; the device makes copies and poison.
        let bytes_of = |bytes: u64| Bytes::new(bytes as f64);
        machine.pass((bytes_of(inputs) / machine.host.drawn + bytes_of(inputs) / machine.host.moved).get());
        let compilation = machine.compile(plan);
        machine.pass(compilation);
        let selected = 0..plan.launches.len();
        let each = machine.full_clock(plan, &selected);
        Ok(Box::new(Ready { machine, selected, plan: plan.clone(), bytes, compilation, each, verified: false }))
    }
}

impl Prepared for Ready<'_> {
    fn run(&mut self, runs: u32) -> Result<Lap, LaunchError> {
        let machine = self.machine;
        let device = machine.work(self.each * f64::from(runs));
        let shader = self.plan.launches[self.selected.start].shader;
        if device > machine.seen.borrow().longest.0 {
            machine.seen.borrow_mut().longest = (device, shader);
        }
        let watchdog = machine.profile.driver_behaviour.watchdog_s.as_ref();
        if watchdog.is_some_and(|limit| device > limit.value) {
            machine.seen.borrow_mut().watchdog += 1;
            return Err(LaunchError::Device("the system reset the device".to_owned()));
        }
        let submit = machine.profile.rates.submit_s.value;
        machine.pass(submit);
        Ok(Lap { device: Some(Seconds::new(device)), wall: Seconds::new(device + submit), cpu: None })
    }

    fn select(&mut self, launches: Option<Range<usize>>) {
        self.selected = launches.unwrap_or(0..self.plan.launches.len());
        self.each = self.machine.full_clock(&self.plan, &self.selected);
    }

    fn read(&mut self, _buffer: &str) -> Result<Vec<u8>, LaunchError> {
        Ok(Vec::new())
    }

    fn compilation(&self) -> Seconds {
        Seconds::new(self.compilation)
    }

    fn now(&self) -> Seconds {
        Seconds::new(self.machine.now())
    }

    fn meanwhile(&mut self, work: &mut (dyn FnMut() + Send)) {
        work();
        // The host verifies once and then compares whole outputs, while the device stays busy.
        let outputs = self.plan.buffers.iter().filter(|buffer| buffer.role == Role::Output);
        let outputs = Bytes::new(outputs.map(|buffer| buffer.size_bytes).sum::<u64>() as f64);
        let twin = EFFORT as f64 / self.machine.host.checked_per_s;
        let host = if self.verified { (outputs / self.machine.host.moved).get() } else { twin };
        self.verified = true;
        self.machine.work(host);
    }
}
