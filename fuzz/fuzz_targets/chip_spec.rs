//! A chip's TOML from a stranger: refused in one line, or a chip that can be modelled.
#![no_main]

use libfuzzer_sys::fuzz_target;
use supernode_bench::specs::{Chip, Fabric};

fuzz_target!(|text: &str| {
    if let Err(error) = Chip::parse("fuzzed.toml", text) {
        assert!(!error.to_string().contains('\n'), "{error:?}");
    }
    if let Err(error) = Fabric::parse("fuzzed.toml", text) {
        assert!(!error.to_string().contains('\n'), "{error:?}");
    }
});
