//! A bar on a terminal, plain lines elsewhere: what is going on while nothing else is printed.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Progress over a known number of steps, on standard error.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Progress {
    /// A bar over `steps` on a terminal; without one, [`Progress::line`] prints lines instead. Nothing with `--quiet`.
    pub(super) fn new(steps: usize, quiet: bool) -> Self {
        let quiet = quiet || super::is_quiet();
        let on_terminal = std::io::stderr().is_terminal() && !quiet;
        let bar = on_terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
            let template = if colours() {
                "{bar:28.cyan/dim} {pos}/{len} {elapsed_precise} eta {eta} {wide_msg}"
            } else {
                "{bar:28} {pos}/{len} {elapsed_precise} eta {eta} {wide_msg}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
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

    /// A step is done; `line` tells of it where there is no bar.
    #[cfg(feature = "gpu")]
    pub(super) fn step(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.inc(1),
            None => self.line(line),
        }
    }

    /// A step is done, and there is nothing to say about it.
    pub(super) fn step_silently(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
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
