//! `supernode devices` on whatever adapter there is. Without one these tests fail: `make test` installs a software one.

#![cfg(feature = "gpu")]

use std::process::{Command, Output};

use serde_json::Value;

fn supernode(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_supernode")).args(arguments).output().expect("runs")
}

fn json(arguments: &[&str]) -> Value {
    let output = supernode(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|name| name.as_str().expect("a name")).collect()
}

#[test]
fn a_bug_report_holds_versions_all_limits_and_features_memory_and_what_was_seen_at_opening() {
    let told = json(&["devices", "--json"]);
    assert_eq!(told["tool"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(told["host"]["memory_bytes"].as_u64() > Some(0));
    for adapter in told["adapters"].as_array().expect("a list") {
        let (device, report) = (&adapter["device"], &adapter["report"]);
        let limits = report["limits"].as_object().expect("limits");
        for (name, value) in device["limits"].as_object().expect("limits") {
            let same = name.ends_with("subgroup_size") || limits.get(name) == Some(value);
            assert!(same, "{name}: {value} in the record, {:?} in the report", limits.get(name));
        }
        assert!(limits.len() > 50 && limits["max_compute_workgroup_size_x"].as_u64() >= Some(256), "{limits:?}");
        assert!(names(&report["downlevel"]).contains(&"COMPUTE_SHADERS"));
        let subgroup = names(&report["features"]).contains(&"SUBGROUP");
        assert_eq!(subgroup, names(&device["features"]).contains(&"subgroup"));
        let open = adapter["open"].as_object().unwrap_or_else(|| panic!("{}", adapter["open_error"]));
        assert!(open["took_s"].as_f64() > Some(0.0));
        assert_eq!(subgroup, !device["subgroup_sizes_seen"].is_null(), "{device}");
        if device["device_type"] == "software" {
            assert_eq!(device["memory_bytes"], told["host"]["memory_bytes"]);
            assert_eq!(device["memory_source"], "host_memory");
        }
        if device["backend"] == "vulkan" {
            let heaps = report["memory_heaps"].as_array().expect("heaps");
            assert!(!heaps.is_empty() && heaps.iter().all(|heap| heap["bytes"].as_u64() > Some(0)), "{heaps:?}");
        }
    }
}

#[test]
fn nothing_is_opened_where_that_is_not_wanted() {
    let told = json(&["devices", "--json", "--no-open"]);
    let adapter = &told["adapters"][0];
    assert!(adapter["open"].is_null() && adapter["device"]["subgroup_sizes_seen"].is_null(), "{adapter}");
    assert!(!supernode(&["devices", "--no-open"]).status.success(), "of use with --json only");
}

#[test]
fn the_list_is_a_line_of_at_most_80_columns_for_each_device() {
    let adapters = json(&["devices", "--json", "--no-open"])["adapters"].as_array().expect("a list").len();
    let output = String::from_utf8(supernode(&["devices"]).stdout).expect("text");
    assert_eq!(output.lines().count(), adapters + 1, "{output}");
    assert!(output.lines().all(|line| line.chars().count() <= 80), "{output}");
}

#[test]
fn an_adapter_that_is_nowhere_on_the_bus_is_one_line_and_exit_code_2() {
    let output = supernode(&["verify", "--only", "gating", "--adapter", "ffff:ff:1f.7"]);
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("no adapter has this PCI address or a name that contains this"), "{error}");
}
