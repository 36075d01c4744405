//! What 384 of them would deliver: pure functions over values, no GPU, no clock, no file.

mod result;

pub use result::*;
