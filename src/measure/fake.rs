//! A kernel without meaning and an executor without a device, for the tests of choice, schedule and journal.

mod probes;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::executor::{Executor, Lap, LaunchError, Prepared};
use super::planning::{BEST, PlannedCase};
use crate::kernels::cases::CaseSpec;
use crate::kernels::{
    Buffer, Family, Kernel, KernelPhase, Launch, Operation, Output, PartOf, Plan, Role, StorageType, Tensor,
    TensorType, Tensors, Verification, Work,
};
use crate::record::{CacheState, Device, DeviceType};
use crate::units::{Bytes, Flop, Seconds};

pub(super) const VARIANTS: [&str; 3] = ["slow", "fast", "middle"];
/// Arithmetic of one run.
pub(super) const FLOP: f64 = 1e6;

/// How long the host stands still, in seconds, before a run of a kernel: its name, and the runs that it has made.
type Pause = dyn Fn(&str, usize) -> f64;

/// A kernel whose result is right where the executor says so. The x grid is the index of its variant.
#[derive(Debug, Clone)]
pub(super) struct FakeKernel {
    pub(super) name: &'static str,
    /// Parts, each of one launch; none for a single kernel.
    pub(super) parts: usize,
    /// Rows, which take time in proportion; a kernel of fixed size where `None`.
    pub(super) rows: Option<u32>,
}

/// Rows of a kernel of fixed size.
const FIXED_ROWS: u32 = 8;

impl FakeKernel {
    fn launch(variant: &str, rows: u32) -> Launch {
        let index = VARIANTS.iter().position(|known| *known == variant).unwrap();
        // Starts from a probe's launch, so that new fields of `Launch` need no change here.
        let plan = crate::kernels::probes::LaunchProbe.plan("probe", StorageType::F32);
        let mut launch = plan.launches.into_iter().next().unwrap();
        launch.grid = [u32::try_from(index).unwrap(), rows, 1];
        launch
    }
}

impl Kernel for FakeKernel {
    fn name(&self) -> &'static str {
        self.name
    }
    fn shape(&self) -> BTreeMap<String, u64> {
        BTreeMap::from([("n".to_owned(), self.rows.unwrap_or(FIXED_ROWS).into())])
    }
    fn fewer_rows(&self) -> Option<Box<dyn Kernel>> {
        let rows = self.rows.filter(|rows| *rows > 1)?;
        Some(Box::new(Self { rows: Some(rows / 2), ..self.clone() }))
    }
    fn variants(&self) -> &'static [&'static str] {
        &VARIANTS
    }
    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::F32]
    }
    fn plan(&self, variant: &str, _element: StorageType) -> Plan {
        let launch = Self::launch(variant, self.rows.unwrap_or(FIXED_ROWS));
        let work = Work { flop: Flop::new(FLOP), bytes_read: Bytes::new(16.0), bytes_written: Bytes::new(16.0) };
        let part = |index: usize| PartOf {
            kernel: "part",
            variant: "only",
            launches: index..index + 1,
            work: Work { flop: work.flop / self.parts as f64, ..work },
            operations: BTreeMap::from([(Operation::F32, work.flop / self.parts as f64)]),
        };
        Plan {
            // The last one names the kernel to the executor.
            buffers: [("word", Role::Input), ("echo", Role::Output), (self.name, Role::Scratch)]
                .map(|(name, role)| Buffer { name, size_bytes: 16, role })
                .to_vec(),
            launches: vec![launch; self.parts.max(1)],
            work,
            issued_flop: Flop::new(FLOP * 1.25),
            parts: (0..self.parts).map(part).collect(),
        }
    }
    fn inputs(&self, _variant: &str, _element: StorageType, _seed: u64) -> Tensors {
        Tensors::from([("word", Tensor::indices(&[1]))])
    }
    fn outputs(&self, _variant: &str, _element: StorageType) -> Vec<Output> {
        vec![Output { name: "echo", dims: vec![2], padded: vec![2], kind: TensorType::Index }]
    }
    /// The twin checks the first of the two elements only, whatever the effort.
    fn verify(&self, _inputs: &Tensors, outputs: &Tensors, _element: StorageType, _effort: u64) -> Verification {
        let error = if outputs["echo"].index_at(&[0]) == 1 { 0.0 } else { 1.0 };
        Verification { value: error, worst_error: error, total: 2, ..Verification::exact() }
    }
}

/// Cases of fake kernels as a tuned run plans them.
pub(super) fn planned(kernels: &[FakeKernel]) -> Vec<PlannedCase> {
    let spec = |kernel: &FakeKernel| CaseSpec {
        kernel: Arc::new(kernel.clone()),
        variant: VARIANTS[0],
        element: StorageType::F32,
        family: if kernel.parts > 0 { Family::Layer } else { Family::Gating },
        label: "m".to_owned(),
        phase: KernelPhase::Prefill,
        scale_divisor: 1,
    };
    kernels
        .iter()
        .map(|kernel| {
            let spec = Arc::new(spec(kernel));
            PlannedCase { id: spec.id_as(BEST), spec, cache: CacheState::Cold, candidates: VARIANTS.to_vec() }
        })
        .collect()
}

pub(super) fn device() -> Device {
    Device {
        name: "fake device".to_owned(),
        vendor: "nobody".to_owned(),
        vendor_id: 0,
        device_id: 7,
        driver: "fake".to_owned(),
        driver_info: "1.0".to_owned(),
        backend: "vulkan".to_owned(),
        device_type: DeviceType::Discrete,
        features: Vec::new(),
        limits: BTreeMap::new(),
        ..Device::default()
    }
}

/// Time of one launch, given its shader and x grid.
type Time = dyn FnMut(&str, u32) -> f64;

pub(super) struct Fake {
    time: RefCell<Box<Time>>,
    /// Variants that give a wrong result.
    pub(super) wrong: Vec<u32>,
    /// Variants whose result is wrong in the element that the twin does not check.
    pub(super) racy: Vec<u32>,
    /// Variants that are refused, with the driver's error.
    pub(super) refused: BTreeMap<u32, LaunchError>,
    /// Plans prepared so far, of probes and kernels.
    pub(super) prepared: Cell<usize>,
    /// What goes wrong.
    pub(super) faults: Vec<Failure>,
    /// What the first run of a prepared plan takes beyond its others: the driver compiles then.
    pub(super) first_run_s: f64,
    /// Probes' shaders that give a wrong result for a type.
    pub(super) wrong_probes: Vec<(&'static str, StorageType)>,
    /// Errors in place of preparing a shader, so many times.
    pub(super) broken: Vec<(&'static str, LaunchError, Cell<usize>)>,
    /// Subgroups of a workgroup.
    pub(super) subgroups: u32,
    /// What a submission and a wait take the host beyond the device's time.
    pub(super) submit_s: f64,
    /// The steps of the device's clock and of the host's; fine ones where zero.
    pub(super) clock_steps_s: [f64; 2],
    /// For how long the host stands still before a run.
    pub(super) pause: Box<Pause>,
    /// Runs made so far, by the plan's last buffer, and the host's time.
    pub(super) runs: RefCell<BTreeMap<&'static str, usize>>,
    pub(super) now: Cell<f64>,
    /// The buffer sets that each shader was last prepared with ...
    pub(super) sets: RefCell<BTreeMap<&'static str, u32>>,
    /// ... and the bytes of one set of the last plan.
    pub(super) set_bytes: Rc<Cell<u64>>,
}

/// The step of a case at which something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScriptStep {
    Prepare,
    Run,
    Read,
}

/// An error in place of a kernel's variant (its index) at a step, so many times.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) kernel: &'static str,
    pub(super) variant: u32,
    pub(super) step: ScriptStep,
    pub(super) error: LaunchError,
    pub(super) times: Cell<usize>,
}

impl Fake {
    pub(super) fn new(time: impl FnMut(&str, u32) -> f64 + 'static) -> Self {
        Self {
            time: RefCell::new(Box::new(time)),
            wrong: Vec::new(),
            racy: Vec::new(),
            refused: BTreeMap::new(),
            prepared: Cell::new(0),
            faults: Vec::new(),
            first_run_s: 0.0,
            wrong_probes: Vec::new(),
            broken: Vec::new(),
            subgroups: 4,
            submit_s: 1e-4,
            clock_steps_s: [0.0; 2],
            pause: Box::new(|_, _| 0.0),
            runs: RefCell::default(),
            now: Cell::new(0.0),
            sets: RefCell::default(),
            set_bytes: Rc::default(),
        }
    }

    /// What the clocks show of a run that takes `device` seconds, `wall` with submission and wait.
    fn lap(&self, device: f64, wall: f64) -> Lap {
        let begin = self.now.get();
        self.now.set(begin + wall);
        let [device, wall] = [(device, self.clock_steps_s[0]), (wall, self.clock_steps_s[1])].map(|(time, step)| {
            // Without a step it is the very time that was given.
            let shown = |at: f64| (at / step).floor() * step;
            Seconds::new(if step > 0.0 { shown(begin + time) - shown(begin) } else { time })
        });
        // A clock that has not moved shows nothing.
        Lap { device: Some(device).filter(|device| device.is_positive()), wall, cpu: None }
    }

    fn fail(&self, plan: &Plan, step: ScriptStep) -> Result<(), LaunchError> {
        let (kernel, variant) = (plan.buffers.last().map(|buffer| buffer.name), plan.launches[0].grid[0]);
        let due = self.faults.iter().find(|fault| {
            Some(fault.kernel) == kernel && fault.variant == variant && fault.step == step && fault.times.get() > 0
        });
        let Some(fault) = due else { return Ok(()) };
        fault.times.set(fault.times.get() - 1);
        Err(fault.error.clone())
    }
}

struct Ready<'a> {
    fake: &'a Fake,
    plan: Plan,
    inputs: Tensors,
    selected: Range<usize>,
    has_run: bool,
}

/// The same device behind every opening.
impl Executor for Rc<Fake> {
    fn prepare(&self, plan: &Plan, inputs: &Tensors, sets: u32) -> Result<Box<dyn Prepared + '_>, LaunchError> {
        self.as_ref().prepare(plan, inputs, sets)
    }
}

impl Executor for Fake {
    fn prepare(&self, plan: &Plan, inputs: &Tensors, sets: u32) -> Result<Box<dyn Prepared + '_>, LaunchError> {
        self.prepared.set(self.prepared.get() + 1);
        self.fail(plan, ScriptStep::Prepare)?;
        let launch = &plan.launches[0];
        if let Some((_, error, times)) = self.broken.iter().find(|(name, _, n)| *name == launch.shader && n.get() > 0) {
            times.set(times.get() - 1);
            return Err(error.clone());
        }
        self.sets.borrow_mut().insert(launch.shader, sets);
        self.set_bytes.set(plan.bytes_of_a_set());
        if let Some(error) = self.refused.get(&launch.grid[0]).filter(|_| launch.shader == "probe_launch") {
            return Err(error.clone());
        }
        let selected = 0..plan.launches.len();
        let inputs = inputs.clone();
        Ok(Box::new(Ready { fake: self, plan: plan.clone(), inputs, selected, has_run: false }))
    }
}

impl Prepared for Ready<'_> {
    fn run(&mut self, runs: u32) -> Result<Lap, LaunchError> {
        self.fake.fail(&self.plan, ScriptStep::Run)?;
        let mut time = self.fake.time.borrow_mut();
        let share =
            |launch: &Launch| if launch.shader == "probe_launch" { f64::from(launch.grid[1]) / 8.0 } else { 1.0 };
        let launches = &self.plan.launches[self.selected.clone()];
        let once: f64 = launches.iter().map(|launch| time(launch.shader, launch.grid[0]) * share(launch)).sum();
        let compiling = if self.has_run { 0.0 } else { self.fake.first_run_s };
        self.has_run = true;
        let device = once * f64::from(runs) + compiling;
        let name = self.plan.buffers.last().map_or("", |buffer| buffer.name);
        let mut made = self.fake.runs.borrow_mut();
        let made = made.entry(name).or_default();
        *made += 1;
        self.fake.now.set(self.fake.now.get() + (self.fake.pause)(name, *made));
        Ok(Lap { cpu: Some(Seconds::new(device)), ..self.fake.lap(device, device + self.fake.submit_s) })
    }

    fn now(&self) -> Seconds {
        Seconds::new(self.fake.now.get())
    }

    fn select(&mut self, launches: Option<Range<usize>>) {
        self.selected = launches.unwrap_or(0..self.plan.launches.len());
    }

    fn read(&mut self, buffer: &str) -> Result<Vec<u8>, LaunchError> {
        self.fake.fail(&self.plan, ScriptStep::Read)?;
        let launch = &self.plan.launches[0];
        let is_probe = launch.shader != "probe_launch";
        let mut bytes = probes::result(launch, buffer, &self.inputs, self.fake.subgroups);
        let is_wrong = if is_probe {
            self.fake.wrong_probes.contains(&(launch.shader, launch.element))
        } else {
            self.fake.wrong.contains(&launch.grid[0])
        };
        if is_wrong {
            bytes.iter_mut().for_each(|byte| *byte ^= 0x40);
        }
        if !is_probe && self.plan.buffers.len() > 2 {
            // The second element of a fake kernel, which its twin does not check.
            bytes.truncate(4);
            bytes.extend(u32::from(self.fake.racy.contains(&launch.grid[0])).to_le_bytes());
        }
        Ok(bytes)
    }
}
