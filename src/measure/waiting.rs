//! Waiting for the device: the one place that knows how. Natively the thread sleeps; in a browser the stack is set aside until
//! a promise settles, so that everything above stays synchronous.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod native;

#[cfg(target_arch = "wasm32")]
pub use self::browser::pause;
#[cfg(target_arch = "wasm32")]
pub(super) use self::browser::{block_on, mapped, submitted};
#[cfg(not(target_arch = "wasm32"))]
pub(super) use self::native::{block_on, mapped, submitted};
