//! Two documents side by side: what differs, and what cannot be said to differ.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

use assert_cmd::Command;
use proptest::prelude::*;
use supernode_bench::record::{Browser, Clock, Preset, Record, RuntimeChecks, save};
use supernode_bench::report::compare::{RatioVerdict, RecordComparison, compare, text};

fn fast() -> Record {
    fixture::record("Example X1", &fixture::FAST)
}

fn near() -> Record {
    let mut record = fixture::record("Example X2", &fixture::NEAR);
    record.protocol.preset = Preset::Full;
    record.protocol.clock = Clock::Wall;
    record.device.driver_info = "600.1".to_owned();
    let gone = record.cases.remove(3);
    record.planned.retain(|id| *id != gone.id);
    record
}

fn against(base: &Record, other: &Record) -> RecordComparison {
    compare(("a.json", base), &[("b.json", other)])
}

#[test]
fn a_comparison_reads_as_one_table() {
    let text = text(&against(&fast(), &near()));
    insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
}

#[test]
fn a_comparison_fits_a_hundred_columns() {
    let text = anstream::adapter::strip_str(&text(&against(&fast(), &near()))).to_string();
    let longest = text.lines().map(|line| line.chars().count()).max();
    assert!(longest.unwrap() <= 100, "{longest:?}");
}

#[test]
fn a_record_does_not_differ_from_itself() {
    let same = &against(&fast(), &fast()).against[0];
    assert!(same.differs.is_empty() && same.only_in_base.is_empty() && same.only_in_other.is_empty());
    let all = || same.cases.iter().chain(&same.best);
    assert!(all().all(|case| case.ratio.verdict == RatioVerdict::NoDifferenceShown && case.ratio.speedup == 1.0));
    assert!(same.geometric_mean.values().all(|mean| (mean.mean - 1.0).abs() < 1e-12));
    assert_eq!(against(&fast(), &fast()).regressions(0.0), []);
}

#[test]
fn a_record_of_a_browser_says_what_differs_and_keeps_its_cases() {
    let mut other = fast();
    other.host.browser = Some(Browser { name: "Chromium".to_owned(), version: "156.0".to_owned() });
    other.device.backend = "browser_webgpu".to_owned();
    other.protocol.runtime_checks = RuntimeChecks::Browser;
    let there = &against(&fast(), &other).against[0];
    assert_eq!(there.cases.len(), fast().cases.len());
    assert_eq!(there.differs[0], "backend: vulkan | browser_webgpu");
    assert!(there.differs[1].starts_with("browser: none | Chromium 156.0 ("), "{:?}", there.differs);
    assert!(there.differs[2].starts_with("runtime checks: off | the browser's own ("), "{:?}", there.differs);
    assert_eq!(there.differs.len(), 3);
}

#[test]
fn records_without_a_common_case_say_so() {
    let mut other = near();
    other.cases.clear();
    let text = text(&against(&fast(), &other));
    assert!(text.contains("No case in common"));
}

#[test]
fn the_command_prints_json_and_names_a_bad_file() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.json"), folder.path().join("b.json"));
    save(&a, &fast()).unwrap();
    save(&b, &near()).unwrap();
    let supernode = || Command::cargo_bin("supernode").unwrap();
    let output = supernode().args(["compare", "--json"]).args([&a, &b]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["against"][0]["cases"].as_array().unwrap().len(), 19);
    let piped = supernode().arg("compare").args([&a, &b]).output().unwrap();
    assert!(!piped.stdout.contains(&0x1b), "styles in a pipe");
    std::fs::write(&b, "{").unwrap();
    let told = supernode().arg("compare").args([&a, &b]).assert().code(2);
    told.stderr(predicates::str::contains("b.json: cut off at line 1"));
}

proptest! {
    #[test]
    fn the_verdict_follows_the_intervals_and_turns_round_with_the_sides(factor in 0.5f64..2.0, spread in 0.0f64..0.3) {
        let (base, mut other) = (fast(), fast());
        for case in &mut other.cases {
            case.timing = fixture::timing(case.timing.median_s.get() * factor, spread);
        }
        let there = &against(&base, &other).against[0];
        let back = &against(&other, &base).against[0];
        for (there, back) in there.cases.iter().zip(&back.cases) {
            let (there, back) = (there.ratio, back.ratio);
            let high = there.high.unwrap();
            prop_assert!(there.low <= there.speedup && there.speedup <= high);
            prop_assert!((there.speedup * back.speedup - 1.0).abs() < 1e-9);
            prop_assert!((there.low * back.high.unwrap() - 1.0).abs() < 1e-9);
            let mirrored = match back.verdict {
                RatioVerdict::Faster => RatioVerdict::Slower,
                RatioVerdict::Slower => RatioVerdict::Faster,
                RatioVerdict::NoDifferenceShown => RatioVerdict::NoDifferenceShown,
            };
            prop_assert_eq!(there.verdict, mirrored);
            prop_assert_eq!(there.verdict == RatioVerdict::Faster, there.low > 1.0);
            prop_assert_eq!(there.verdict == RatioVerdict::Slower, high < 1.0);
        }
    }
}
