//! Criterion's folders, `GROUP/BENCHMARK/BASELINE/{benchmark,estimates,sample}.json`, which `critcmp` reads too.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use crate::record::{Case, Record, Timing};
use crate::report::text::clean;

/// The longest name of a folder, as criterion has it.
const LONGEST_NAME: usize = 64;
const NS_PER_S: f64 = 1e9;
/// Half the width of a 95 % interval in standard errors of a normal distribution.
const Z_95: f64 = 1.959_964;

/// One file of the layout.
#[derive(Debug, Clone, PartialEq)]
pub struct CriterionFile {
    /// Where, below criterion's folder. Made of letters, digits and `_=,.-` only, whatever the record says.
    pub path: PathBuf,
    /// JSON.
    pub text: String,
}

/// All cases of a record under one baseline's name. Times are nanoseconds a run.
///
/// Criterion bootstraps its intervals; here the median has the record's own, and the others are those of a normal
/// distribution.
pub fn criterion(record: &Record, baseline: &str) -> Vec<CriterionFile> {
    let baseline = folder_name(baseline);
    let mut taken = BTreeSet::new();
    let mut files = Vec::with_capacity(record.cases.len() * 3);
    for case in &record.cases {
        let group = folder_name(&format!("{}_{}", case.family, case.kernel));
        let name = unique(&group, &folder_name(case.id.splitn(3, '/').last().unwrap_or_default()), &mut taken);
        let contents = [
            ("benchmark.json", benchmark(case, &format!("{group}/{name}"))),
            ("estimates.json", estimates(&case.timing)),
            ("sample.json", sample(&case.timing)),
        ];
        files.extend(contents.map(|(file, json)| CriterionFile {
            path: [&*group, &*name, &*baseline, file].iter().collect(),
            text: json.to_string(),
        }));
    }
    files
}

fn benchmark(case: &Case, directory: &str) -> serde_json::Value {
    // A cast to an unsigned integer saturates; a record's counts are finite and not negative.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and loses only fractions")]
    let bytes = case.bytes().get() as u64;
    let sizes: Vec<String> = case.shape.iter().map(|(name, size)| format!("{name}={size}")).collect();
    json!({
        "group_id": clean(&format!("{}/{}", case.family, case.kernel)),
        "function_id": clean(&format!("{}/{}", case.variant, case.element)),
        "value_str": clean(&format!("{}/{}/{}", case.model, case.phase, sizes.join(","))),
        "throughput": { "Bytes": bytes },
        "full_id": clean(&case.id),
        "directory_name": directory,
        "title": clean(&case.id),
    })
}

fn estimates(timing: &Timing) -> serde_json::Value {
    let samples: Vec<f64> = timing.samples_s.iter().map(|sample| sample.get() * NS_PER_S).collect();
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    let deviation = if samples.len() > 1 { (squares / (count - 1.0)).sqrt() } else { 0.0 };
    let median = timing.median_s.get() * NS_PER_S;
    let [low, high] = timing.ci95_s.map(|end| end.get() * NS_PER_S);
    let mad = timing.mad_s.get() * NS_PER_S;
    json!({
        "mean": normal(mean, deviation / count.sqrt()),
        "median": estimate(median, low, high, (high - low) / (2.0 * Z_95)),
        // Standard errors of a normal sample: of the deviation s / sqrt(2 n), of the MAD 1.17 MAD / sqrt(n).
        "median_abs_dev": normal(mad, 1.17 * mad / count.sqrt()),
        "slope": null,
        "std_dev": normal(deviation, deviation / (2.0 * count).sqrt()),
    })
}

fn normal(value: f64, error: f64) -> serde_json::Value {
    estimate(value, (value - Z_95 * error).max(0.0), value + Z_95 * error, error)
}

fn estimate(value: f64, low: f64, high: f64, error: f64) -> serde_json::Value {
    json!({
        "confidence_interval": { "confidence_level": 0.95, "lower_bound": low, "upper_bound": high },
        "point_estimate": value,
        "standard_error": error,
    })
}

fn sample(timing: &Timing) -> serde_json::Value {
    let runs = f64::from(timing.runs_per_sample);
    let times: Vec<f64> = timing.samples_s.iter().map(|sample| sample.get() * runs * NS_PER_S).collect();
    json!({ "sampling_mode": "Flat", "iters": vec![runs; times.len()], "times": times })
}

/// A name that is one folder on every system, and never `.` or `..`.
fn folder_name(text: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || "_=,.-".contains(c);
    let name: String = text.chars().map(|c| if keep(c) { c } else { '_' }).take(LONGEST_NAME).collect();
    // Windows drops points at the end of a name.
    let name = name.trim_end_matches('.').trim_start_matches('.');
    if name.is_empty() { "_".to_owned() } else { name.to_owned() }
}

/// The name, with a number behind it where it is taken (some file systems ignore case).
fn unique(group: &str, name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut candidate = name.to_owned();
    for number in 2.. {
        if taken.insert(format!("{group}/{candidate}").to_lowercase()) {
            break;
        }
        let room: String = name.chars().take(LONGEST_NAME - 8).collect();
        candidate = format!("{room}_{number}");
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_s_name_cannot_leave_its_folder() {
        let names = ["..", ".", "", "/etc/passwd", "a\\..\\b", "con\u{0}", &"x".repeat(500)].map(folder_name);
        for name in &names {
            assert!(!name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(['/', '\\', '\0']), "{name}");
            assert!(name != "." && name != "..");
        }
        assert_eq!(names[3], "_etc_passwd");
    }

    #[test]
    fn names_that_collide_get_a_number() {
        let mut taken = BTreeSet::new();
        let names = ["a", "A", "a"].map(|name| unique("g", name, &mut taken));
        assert_eq!(names, ["a", "A_2", "a_3"]);
    }
}
