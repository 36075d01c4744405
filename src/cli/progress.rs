//! Standard error: a bar on a terminal, plain lines elsewhere. Nothing else of the program writes there, apart from the
//! error line of `main`.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Set by `--quiet`: no progress and no notes.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Honours `--quiet` from now on.
pub(super) fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// A line for people, unless `--quiet` was given.
pub(super) fn note(line: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        anstream::eprintln!("{line}");
    }
}

/// A line that `--quiet` keeps: something was passed over or left out.
pub(super) fn warning(line: &str) {
    anstream::eprintln!("{line}");
}

/// Whether progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Unless `--quiet` was given.
    UnlessQuiet,
    /// Never, since the output is for a program.
    Never,
}

/// Progress over a known number of steps, on standard error.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Progress {
    /// A bar over `steps` on a terminal; without one, [`Progress::line`] prints lines instead. Nothing with `--quiet`.
    pub(super) fn new(steps: usize, shown: Shown) -> Self {
        Self::with(Some(steps as u64), shown, "{bar:28.cyan/dim} {pos}/{len} {elapsed_precise} eta {eta} {wide_msg}")
    }

    /// The same over a number of steps that nobody knows: how many there were so far, and of what.
    pub(super) fn counting(what: &'static str) -> Self {
        let progress = Self::with(None, Shown::UnlessQuiet, "{spinner:.cyan} {pos} {msg} {elapsed_precise}");
        if let Some(bar) = &progress.bar {
            bar.set_message(what);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        progress
    }

    fn with(steps: Option<u64>, shown: Shown, template: &str) -> Self {
        let quiet = shown == Shown::Never || QUIET.load(Ordering::Relaxed);
        let on_terminal = std::io::stderr().is_terminal() && !quiet;
        let bar = on_terminal.then(|| {
            let bar = ProgressBar::with_draw_target(steps, ProgressDrawTarget::stderr());
            let plain = template.replace(":28.cyan/dim", ":28").replace(":.cyan", "");
            if let Ok(style) = ProgressStyle::with_template(if colours() { template } else { &plain }) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, quiet }
    }

    /// What is being worked on.
    #[cfg(feature = "gpu")]
    pub(super) fn now(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// What is begun, as a line where there is no bar: the last one to be seen where a driver ends the process.
    #[cfg(feature = "gpu")]
    pub(super) fn begin(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => self.line(what),
        }
    }

    /// A step is done; where there is no bar, `line` says so.
    #[cfg(feature = "gpu")]
    pub(super) fn step(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.inc(1),
            None => self.line(line),
        }
    }

    /// A step is done, and there is nothing to say about it.
    pub(super) fn step_silently(&self) {
        self.steps(1);
    }

    /// So many steps are done.
    pub(super) fn steps(&self, count: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(count);
        }
    }

    /// A line that stays, above the bar where there is one.
    pub(super) fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None if !self.quiet => anstream::eprintln!("{line}"),
            None => {}
        }
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Whether standard error may carry colours.
fn colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
