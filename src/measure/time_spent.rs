//! Where the time of a run goes: an executor that wraps another and adds up its times.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use web_time::Instant;

use super::{Executor, Lap, LaunchError, Prepared};
use crate::kernels::{Plan, Tensors};
use crate::record::TimeSpent;
use crate::units::Seconds;

/// Running sums of a run.
#[derive(Debug)]
pub(super) struct Account {
    began: Instant,
    kernels: Cell<Seconds>,
    preparation: Cell<Seconds>,
    verification: Cell<Seconds>,
}

impl Default for Account {
    fn default() -> Self {
        let nothing = || Cell::new(Seconds::ZERO);
        Self { began: Instant::now(), kernels: nothing(), preparation: nothing(), verification: nothing() }
    }
}

fn since(begin: Instant) -> Seconds {
    Seconds::new(begin.elapsed().as_secs_f64())
}

fn add(sum: &Cell<Seconds>, time: Seconds) {
    sum.set(sum.get() + time);
}

impl Account {
    /// What was spent so far.
    pub(super) fn spent(&self) -> TimeSpent {
        TimeSpent {
            wall_s: since(self.began),
            kernels_s: self.kernels.get(),
            preparation_s: self.preparation.get(),
            verification_s: self.verification.get(),
        }
    }
}

/// Does something that belongs to verification: making operands, the twin, the comparison.
pub(super) fn verifying<T>(executor: &dyn Executor, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = work();
    executor.spent_verifying(since(begin));
    done
}

/// An executor whose time is accounted for.
pub(super) struct Accounted {
    /// Does the work.
    pub(super) inner: Box<dyn Executor>,
    /// Takes the times.
    pub(super) account: Rc<Account>,
}

struct AccountedPlan<'a> {
    inner: Box<dyn Prepared + 'a>,
    account: &'a Account,
}

impl Executor for Accounted {
    fn prepare(&self, plan: &Plan, inputs: &Tensors, sets: u32) -> Result<Box<dyn Prepared + '_>, LaunchError> {
        let begin = Instant::now();
        let prepared = self.inner.prepare(plan, inputs, sets);
        add(&self.account.preparation, since(begin));
        Ok(Box::new(AccountedPlan { inner: prepared?, account: &self.account }))
    }

    fn spent_verifying(&self, time: Seconds) {
        add(&self.account.verification, time);
    }
}

impl Prepared for AccountedPlan<'_> {
    fn run(&mut self, runs: u32) -> Result<Lap, LaunchError> {
        let lap = self.inner.run(runs);
        if let Ok(lap) = &lap {
            add(&self.account.kernels, lap.wall);
        }
        lap
    }

    fn select(&mut self, launches: Option<Range<usize>>) {
        self.inner.select(launches);
    }

    fn read(&mut self, buffer: &str) -> Result<Vec<u8>, LaunchError> {
        let begin = Instant::now();
        let bytes = self.inner.read(buffer);
        add(&self.account.verification, since(begin));
        bytes
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
