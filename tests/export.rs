//! Other tools' formats: their own readers, or their grammar, find what the record says.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;
mod openmetrics;

use std::collections::BTreeSet;

use assert_cmd::Command;
use serde::Deserialize;
use supernode_bench::record::{Record, save};
use supernode_bench::report::export;

fn records() -> Vec<(String, Record)> {
    let one = fixture::record("Example X1", &fixture::FAST);
    let two = fixture::record("Example X2, \"rev. 2\"", &fixture::NEAR);
    vec![("a.json".to_owned(), one), ("b.json".to_owned(), two)]
}

#[test]
fn a_csv_has_each_case_once_with_the_record_s_figures() {
    let records = records();
    let text = export::csv(&records).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head = reader.headers().unwrap().clone();
    let column = |name: &str| head.iter().position(|found| found == name).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
    let cases: Vec<_> =
        records.iter().flat_map(|(file, record)| record.cases.iter().map(move |c| (file, record, c))).collect();
    assert_eq!(rows.len(), cases.len());
    for (row, (file, record, case)) in rows.iter().zip(cases) {
        assert_eq!((&row[column("file")], &row[column("id")]), (&**file, &*case.id));
        assert_eq!(row[column("device")], record.device.name);
        assert_eq!(row[column("median_s")].parse::<f64>().unwrap(), case.timing.median_s.get());
        assert_eq!(row[column("fraction_of_roofline")].parse::<f64>().unwrap(), case.achieved.fraction_of_roofline);
        assert_eq!(&row[column("cpu_median_s")], "");
    }
    let fastest = rows.iter().filter(|row| &row[column("fastest_variant")] == "true").count();
    assert_eq!(fastest, 32, "16 of 20 cases are the best of their variants, on two devices");
}

#[test]
fn each_line_of_jsonl_is_a_case_with_its_samples() {
    let records = records();
    let text = export::jsonl(&records).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 40);
    let case = &records[0].1.cases[0];
    assert_eq!(lines[0]["samples_s"].as_array().unwrap().len(), case.timing.samples_s.len());
    assert_eq!(lines[0]["shape"]["hidden"], 7168);
    assert_eq!(lines[0]["cpu_median_s"], serde_json::Value::Null);
}

#[test]
fn openmetrics_text_obeys_its_grammar() {
    let series = openmetrics::check(&export::openmetrics(&records())).unwrap();
    // A record: info, start, 3 outcomes, 2 arithmetic and 2 memory roofs, 2 launches; 16 best variants, 3 figures each.
    assert_eq!(series, 2 * (1 + 1 + 3 + 2 + 2 + 2 + 16 * 3));
}

#[test]
fn the_check_of_the_grammar_refuses_what_is_wrong() {
    let sound = "# TYPE a gauge\na{b=\"c\"} 1\n# EOF\n";
    assert_eq!(openmetrics::check(sound), Ok(1));
    let wrong = [
        sound.replace("# EOF\n", ""),
        sound.replace(" 1", " one"),
        sound.replace("\"c\"", "\"c\"d\""),
        sound.replace("a{b", "x{b"),
        sound.replace("a{b=\"c\"} 1\n", "a{b=\"c\"} 1\na{b=\"c\"} 2\n"),
        sound.replace("a{", "\na{"),
        sound.replace("# TYPE a gauge\n", "# TYPE a gauge\n# UNIT a seconds\n"),
        sound.replace("c\"", "c\\x\""),
    ];
    for text in wrong {
        assert!(openmetrics::check(&text).is_err(), "{text}");
    }
}

/// What critcmp 0.1.8 deserialises of `benchmark.json`.
#[derive(Deserialize)]
struct Benchmark {
    group_id: String,
    function_id: Option<String>,
    value_str: Option<String>,
    throughput: Option<Throughput>,
    full_id: String,
    directory_name: String,
}

#[derive(Deserialize)]
struct Throughput {
    #[serde(rename = "Bytes")]
    bytes: Option<u64>,
}

/// What critcmp 0.1.8 deserialises of `estimates.json`.
#[derive(Deserialize)]
struct Estimates {
    mean: Estimate,
    median: Estimate,
    median_abs_dev: Estimate,
    slope: Option<Estimate>,
    std_dev: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    confidence_interval: Interval,
    point_estimate: f64,
    standard_error: f64,
}

#[derive(Deserialize)]
struct Interval {
    confidence_level: f64,
    lower_bound: f64,
    upper_bound: f64,
}

#[test]
fn criterion_s_folders_read_as_critcmp_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("mine.json");
    let record = fixture::record("Example X1", &fixture::FAST);
    save(&document, &record).unwrap();
    let out = folder.path().join("criterion");
    let export = || {
        let mut command = Command::cargo_bin("supernode").unwrap();
        command.args(["export", "--format", "criterion", "-o"]).arg(&out).arg(&document);
        command
    };
    export().assert().success();
    export().args(["--baseline", "other"]).assert().success();
    export().args(["--baseline", "change"]).assert().code(2);
    let mut ids = BTreeSet::new();
    for group in std::fs::read_dir(&out).unwrap() {
        for benchmark in std::fs::read_dir(group.unwrap().path()).unwrap() {
            for baseline in ["mine", "other"] {
                let at = benchmark.as_ref().unwrap().path().join(baseline);
                let read = |file: &str| std::fs::read_to_string(at.join(file)).unwrap();
                let found: Benchmark = serde_json::from_str(&read("benchmark.json")).unwrap();
                let estimates: Estimates = serde_json::from_str(&read("estimates.json")).unwrap();
                let case = record.case(&found.full_id).unwrap();
                assert!(found.group_id.starts_with(&case.family.to_string()) && found.directory_name.contains('/'));
                assert!(
                    found.function_id.unwrap().contains(&case.variant)
                        && found.value_str.unwrap().contains(&case.model)
                );
                assert!((found.throughput.unwrap().bytes.unwrap() as f64 - case.bytes().get()).abs() < 1.0);
                let ns = case.timing.median_s.get() * 1e9;
                assert!((estimates.median.point_estimate / ns - 1.0).abs() < 1e-12);
                assert!(
                    (estimates.mean.point_estimate / ns - 1.0).abs() < 0.02,
                    "the samples lie evenly about their median"
                );
                for estimate in [&estimates.mean, &estimates.median, &estimates.std_dev, &estimates.median_abs_dev] {
                    let Interval { confidence_level, lower_bound, upper_bound } = estimate.confidence_interval;
                    assert!(confidence_level == 0.95 && estimate.standard_error >= 0.0);
                    assert!(lower_bound <= estimate.point_estimate && estimate.point_estimate <= upper_bound);
                }
                assert!(estimates.slope.is_none());
                let sample: serde_json::Value = serde_json::from_str(&read("sample.json")).unwrap();
                assert_eq!(sample["times"].as_array().unwrap().len(), case.timing.samples_s.len());
                ids.insert(found.full_id);
            }
        }
    }
    assert_eq!(ids.len(), record.cases.len());
}

#[test]
fn what_cannot_be_exported_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("mine.json");
    save(&document, &fixture::record("Example X1", &fixture::FAST)).unwrap();
    let export = |arguments: &[&str]| {
        Command::cargo_bin("supernode").unwrap().arg("export").arg(&document).args(arguments).output().unwrap()
    };
    for (arguments, told) in [
        (vec!["--format", "criterion"], "give one with -o"),
        (vec!["--format", "csv", "--baseline", "x"], "--format criterion only"),
        (vec!["--format", "csv", "-o", "/nowhere/at/all.csv"], "cannot be written"),
    ] {
        let output = export(&arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(told), "{error}");
    }
    assert_eq!(export(&["--format", "csv"]).status.code(), Some(0));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_build_without_parquet_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("mine.json");
    save(&document, &fixture::record("Example X1", &fixture::FAST)).unwrap();
    let mut command = Command::cargo_bin("supernode").unwrap();
    let told = command.args(["export", "--format", "parquet"]).arg(&document).assert().code(2);
    told.stderr(predicates::str::contains("--features parquet"));
}

#[cfg(feature = "parquet")]
#[test]
fn a_parquet_file_has_the_columns_and_figures_of_the_csv() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.parquet");
    let records = records();
    std::fs::write(&path, export::parquet(&records).unwrap()).unwrap();
    let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    let names: Vec<String> =
        reader.metadata().file_metadata().schema().get_fields().iter().map(|field| field.name().to_owned()).collect();
    let text = export::csv(&records).unwrap();
    let mut sheet = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(names, sheet.headers().unwrap().iter().collect::<Vec<_>>());
    let column = |name: &str| names.iter().position(|found| found == name).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 40);
    for (row, (_, case)) in rows.iter().zip(records.iter().flat_map(|(f, r)| r.cases.iter().map(move |c| (f, c)))) {
        assert_eq!(row.get_string(column("id")).unwrap(), &case.id);
        assert_eq!(row.get_double(column("median_s")).unwrap(), case.timing.median_s.get());
        assert_eq!(row.get_ulong(column("samples")).unwrap(), case.timing.samples_s.len() as u64);
        assert!(row.get_double(column("cpu_median_s")).is_err(), "null, as the record does not know it");
    }
}
