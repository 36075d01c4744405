//! An executor whose device seems slower than it is, so that a test sees a slow device found. No command uses it but where
//! it is asked for by a flag that is for tests, and the fleet document then says so.

use std::ops::Range;
use std::time::Duration;

use super::{Executor, Lap, LaunchError, Prepared};
use crate::kernels::{Plan, Tensors};
use crate::units::Seconds;

/// Makes every run take longer.
pub struct Slowed {
    /// Does the work.
    pub inner: Box<dyn Executor>,
    /// Factor on all times, 1 or more.
    pub factor: f64,
}

struct SlowedPlan<'a> {
    inner: Box<dyn Prepared + 'a>,
    factor: f64,
}

impl Executor for Slowed {
    fn prepare(&self, plan: &Plan, inputs: &Tensors, sets: u32) -> Result<Box<dyn Prepared + '_>, LaunchError> {
        let inner = self.inner.prepare(plan, inputs, sets)?;
        Ok(Box::new(SlowedPlan { inner, factor: self.factor }))
    }

    fn spent_verifying(&self, time: Seconds) {
        self.inner.spent_verifying(time);
    }
}

impl Prepared for SlowedPlan<'_> {
    fn run(&mut self, runs: u32) -> Result<Lap, LaunchError> {
        let Lap { device, wall, cpu } = self.inner.run(runs)?;
        // The host's clock sees the same as the device's.
        std::thread::sleep(Duration::from_secs_f64(wall.get() * (self.factor - 1.0)));
        let slower = |time: Seconds| time * self.factor;
        Ok(Lap { device: device.map(slower), wall: slower(wall), cpu: cpu.map(slower) })
    }

    fn select(&mut self, launches: Option<Range<usize>>) {
        self.inner.select(launches);
    }

    fn read(&mut self, buffer: &str) -> Result<Vec<u8>, LaunchError> {
        self.inner.read(buffer)
    }

    fn compilation(&self) -> Seconds {
        self.inner.compilation()
    }

    fn now(&self) -> Seconds {
        self.inner.now()
    }

    fn meanwhile(&mut self, work: &mut (dyn FnMut() + Send)) {
        self.inner.meanwhile(work);
    }
}
