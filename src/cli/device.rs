//! Flags and messages that every command with a device shares.

use crate::cli::error::Error;
use crate::cli::progress;
use crate::measure::gpu::{self, AdapterChoice, Backend, Gpu};

/// Which adapter, and how shaders run on it.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DeviceArgs {
    /// Adapter by index, PCI address or part of its name (see `supernode devices`); default: the first, a discrete GPU if any
    #[arg(long, value_name = "INDEX|PCI|NAME")]
    adapter: Option<String>,
    /// Only adapters of this API
    #[arg(long)]
    backend: Option<Backend>,
    /// Keep wgpu's bounds and loop checks in the shaders (slower; the record says so)
    #[arg(long)]
    pub(super) runtime_checks: bool,
}

impl DeviceArgs {
    /// Opens the adapter, and notes what did not work out.
    pub(super) fn open(&self) -> Result<Gpu, Error> {
        let gpu = self.open_again()?;
        gpu.notes.iter().for_each(|note| progress::note(&format!("note: {note}")));
        Ok(gpu)
    }

    /// Opens it without notes: they were shown the first time.
    pub(super) fn open_again(&self) -> Result<Gpu, Error> {
        let selection = AdapterChoice { adapter: self.adapter.clone(), backend: self.backend };
        let listed = gpu::select(&selection).map_err(|error| Error::Input(error.to_string()))?;
        listed.open(self.runtime_checks).map_err(|error| Error::Input(error.to_string()))
    }
}
