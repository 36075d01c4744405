//! A Hugging Face config.json from a stranger: refused in one line, or a model with finite counts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use supernode_bench::specs::Model;

fuzz_target!(|text: &str| match Model::parse("fuzzed", "config.json", text) {
    Ok(model) => {
        for count in [model.parameters(), model.active_parameters(), model.mtp_parameters()] {
            assert!(count.is_finite() && count >= 0.0, "{count}");
        }
        assert!(model.active_parameters() <= model.parameters() * (1.0 + 1e-9));
    }
    Err(error) => assert!(!error.to_string().contains('\n'), "{error:?}"),
});
