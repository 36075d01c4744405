//! Ctrl-C: the first asks for an end at the next safe point.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::cli::error::Error;

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
