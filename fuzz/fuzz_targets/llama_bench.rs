//! An output of llama-bench from a stranger: refused in one line, or figures that are finite and free of control characters.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use supernode_bench::record::{Record, parse};
use supernode_bench::report::compare::{LlamaBench, compare, html, markdown, text};

static RECORD: LazyLock<Record> = LazyLock::new(|| {
    let bytes = include_bytes!("../../results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json");
    parse(bytes, Path::new("committed.json")).expect("the committed record is sound")
});

fuzz_target!(|bytes: &[u8]| match LlamaBench::read("lb.json", bytes, &RECORD) {
    Ok(theirs) => {
        assert!(theirs.rows.iter().all(|row| row.of_ceiling.is_none_or(f64::is_finite)));
        let mut comparison = compare(("a", &RECORD), &[]);
        comparison.llama_bench = Some(theirs);
        let text = text(&comparison).replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        let _ = (markdown(&comparison), html(&comparison));
    }
    Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
});
