//! An output of nccl-tests or OSU from a stranger: refused in one line, or rows that a fabric is fitted on.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use supernode_bench::projection::calibration::fit_measured;
use supernode_bench::projection::calibration::import::{Hints, read};
use supernode_bench::report::terminal::fabric::measured_fit;
use supernode_bench::specs::{Fabric, Sourced};

static FABRIC: LazyLock<Fabric> = LazyLock::new(|| Fabric::load("h100-ib").expect("an embedded fabric"));

fuzz_target!(|bytes: &[u8]| {
    let own = Sourced::assumed(392e9, 392e9, 392e9, "a fuzzer");
    match read(bytes, Hints { collective: None, ranks: Some(16) }) {
        Ok(rows) => {
            let some = &rows[..rows.len().min(8)];
            if let Ok(fitted) = fit_measured(&FABRIC, &own, some, "a fuzzer") {
                assert!(fitted.values.iter().all(|value| value.fitted.is_finite()), "{:?}", fitted.values);
                fitted.fabric.validate("fitted").expect("what is fitted can be");
                let _ = measured_fit("h100-ib", &fitted);
            }
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    }
});
