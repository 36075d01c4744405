//! The seam between schedule and device: whatever runs kernel plans.

use std::ops::Range;
use std::sync::LazyLock;
use web_time::Instant;

use crate::kernels::{Plan, Tensors};
use crate::units::Seconds;

/// Runs kernel plans: a GPU, or a fake.
pub trait Executor {
    /// Compiles the plan's shaders and fills `sets` copies of its inputs, between which runs rotate.
    ///
    /// # Errors
    /// [`LaunchError`] where the device refuses a shader, a buffer or a launch.
    fn prepare(&self, plan: &Plan, inputs: &Tensors, sets: u32) -> Result<Box<dyn Prepared + '_>, LaunchError>;

    /// Hears what the host's part of verification took, for an executor that accounts for time.
    fn spent_verifying(&self, _time: Seconds) {}
}

/// A plan that is ready to run.
pub trait Prepared {
    /// Runs the plan `runs` times, each on the next set of inputs, in one submission, and waits.
    ///
    /// # Errors
    /// [`LaunchError`] where the device is lost or does not answer.
    fn run(&mut self, runs: u32) -> Result<Lap, LaunchError>;

    /// Which launches of the plan the next runs make: those of one part of a layer, or all where `None`. Buffers stay as
    /// the runs before left them.
    fn select(&mut self, launches: Option<Range<usize>>);

    /// The bytes of a buffer after the last run.
    ///
    /// # Errors
    /// As [`Prepared::run`].
    fn read(&mut self, buffer: &str) -> Result<Vec<u8>, LaunchError>;

    /// What the driver took to compile the plan's pipelines when it was prepared; nothing for those it had before.
    fn compilation(&self) -> Seconds {
        Seconds::ZERO
    }

    /// The host's clock, since some moment of this process.
    fn now(&self) -> Seconds {
        static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
        Seconds::new(BEGAN.elapsed().as_secs_f64())
    }

    /// Does the host's work while the device goes on running the plan, so that it keeps its clocks. The plan's outputs
    /// must have been read.
    fn meanwhile(&mut self, work: &mut (dyn FnMut() + Send)) {
        work();
    }
}

/// Closes a device that `error` ended. One that hangs is left open: closing it would wait for the work that never ends.
pub(super) fn close(executor: Box<dyn Executor>, error: &LaunchError) {
    if matches!(error, LaunchError::Hung(_)) {
        std::mem::forget(executor);
    }
}

/// The time of some runs together, on each clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lap {
    /// By the device's timestamps, where it has them.
    pub device: Option<Seconds>,
    /// From submission to the end of the wait.
    pub wall: Seconds,
    /// CPU time of this process over all threads, where the host reports it.
    pub cpu: Option<Seconds>,
}

/// Why a plan did not run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LaunchError {
    /// The driver or wgpu refused the shader.
    #[error("shader {shader} was refused: {message}")]
    Shader {
        /// File name without `.wgsl`.
        shader: &'static str,
        /// What the driver said.
        message: String,
    },
    /// The shader or launch is larger than the device allows, which is no fault of the kernel.
    #[error("too large for the device: {0}")]
    TooLarge(String),
    /// A buffer, binding or launch was refused.
    #[error("launch was refused: {0}")]
    Refused(String),
    /// Memory of the device ran out. Another program may hold it, so this says nothing about the kernel.
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    /// The device is gone; nothing runs on it any more.
    #[error("the device was lost: {0}")]
    Device(String),
    /// The device was given work and did not come back from it.
    #[error("the device hung: no answer within {0}")]
    Hung(Seconds),
}

impl LaunchError {
    /// Whether the device must be opened again before anything else can run.
    pub fn ends_the_device(&self) -> bool {
        matches!(self, Self::Device(_) | Self::Hung(_))
    }
}
