//! Flags and messages that every command with a device shares.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Error;
use crate::measure::gpu::{self, Backend, Gpu, Selection};

/// Which adapter, and how shaders run on it.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DeviceArgs {
    /// Adapter by index or by part of its name (see `supernode devices`); default: the first, a discrete GPU if any
    #[arg(long, value_name = "INDEX|NAME")]
    adapter: Option<String>,
    /// Only adapters of this API
    #[arg(long)]
    backend: Option<Backend>,
    /// Keep wgpu's bounds and loop checks in the shaders (slower; the record says so)
    #[arg(long)]
    pub(super) runtime_checks: bool,
}

impl DeviceArgs {
    pub(super) fn open(&self) -> Result<Gpu, Error> {
        let selection = Selection { adapter: self.adapter.clone(), backend: self.backend };
        let listed = gpu::select(&selection).map_err(|error| Error::Input(error.to_string()))?;
        listed.open(self.runtime_checks).map_err(|error| Error::Input(error.to_string()))
    }
}

/// Set by the first Ctrl-C (or SIGTERM); work ends at the next safe point. A second one ends the process at once.
pub(super) fn interrupt_flag() -> Result<&'static AtomicBool, Error> {
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    static INSTALL: std::sync::Once = std::sync::Once::new();
    let mut outcome = Ok(());
    INSTALL.call_once(|| {
        outcome = ctrlc::set_handler(|| {
            if INTERRUPTED.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        });
    });
    outcome.map_err(|error| Error::Input(format!("cannot watch for Ctrl-C: {error}")))?;
    Ok(&INTERRUPTED)
}
