//! What a browser tells of itself, of the computer and of its device. It tells little, and some of it rounded.

#[cfg(target_arch = "wasm32")]
mod facts;
mod user_agent;

#[cfg(target_arch = "wasm32")]
pub(super) use self::facts::{complete, host};
