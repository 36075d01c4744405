//! The command as people and scripts use it: exit codes, quiet, completions, man pages, comparison from end to end.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use supernode_bench::record::{Record, Rejected, save};
use supernode_bench::units::Seconds;

fn supernode() -> Command {
    Command::cargo_bin("supernode").unwrap()
}

/// A record whose cases all take `factor` times as long, with the interval's width.
fn scaled(factor: f64, spread: f64) -> Record {
    let mut record = fixture::record("Example X1", &fixture::FAST);
    for case in &mut record.cases {
        case.timing = fixture::timing(case.timing.median_s.get() * factor, spread);
        case.achieved.flop_per_s = case.work.flop / case.timing.median_s;
        case.achieved.bytes_per_s = case.bytes() / case.timing.median_s;
        case.achieved.fraction_of_roofline = case.achieved.roofline_s / case.timing.median_s;
    }
    record
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, record: &Record) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        save(&path, record).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn compare(arguments: &[&str], files: &[&Path]) -> (i32, String, String) {
    let output = supernode().arg("compare").args(files).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_threshold_fails_only_on_what_is_slower_beyond_it_with_its_whole_interval() {
    let folder = Folder::new();
    let base = folder.put("base.json", &scaled(1.0, 0.01));
    for (name, factor, spread, threshold, code) in [
        ("slower", 1.2, 0.01, "5%", 1),
        ("slower within", 1.2, 0.01, "30%", 0),
        ("faster", 0.5, 0.01, "5%", 0),
        ("noisy", 1.2, 0.5, "5%", 0),
        ("the same", 1.0, 0.01, "0%", 0),
    ] {
        let other = folder.put("other.json", &scaled(factor, spread));
        let (found, out, told) = compare(&["--threshold", threshold], &[&base, &other]);
        assert_eq!(found, code, "{name}: {told}");
        assert!(out.contains("Geometric mean"), "the comparison is printed all the same");
        if code == 1 {
            assert!(told.contains("16 regressions beyond 5 %") && told.contains("1.200 times as long"), "{told}");
            assert!(told.contains("attention/mla_decode/split/f16"), "it says which: {told}");
        } else {
            assert!(told.contains("no regression"), "{told}");
        }
    }
    let (_, _, told) = compare(&["--threshold", "5%", "--quiet"], &[&base, &base]);
    assert_eq!(told, "", "--quiet");
}

#[test]
fn a_case_that_became_wrong_is_a_regression_and_one_that_is_missing_is_listed() {
    let folder = Folder::new();
    let base = folder.put("base.json", &scaled(1.0, 0.01));
    let mut other = scaled(1.0, 0.01);
    let wrong = other.cases.remove(5);
    let gone = other.cases.remove(7);
    other.planned.retain(|id| *id != gone.id);
    other.rejected.push(Rejected { id: wrong.id.clone(), reason: "off by one".to_owned(), verification: None });
    let other = folder.put("other.json", &other);
    let (code, out, told) = compare(&["--threshold", "5%"], &[&base, &other]);
    assert_eq!(code, 1);
    assert!(
        told.contains("1 regressions") && told.contains(&wrong.id) && told.contains("rejected: off by one"),
        "{told}"
    );
    assert!(out.contains(&format!("{}: not in its plan", gone.id)), "{out}");
}

#[test]
fn nothing_in_common_cannot_pass_a_threshold() {
    let folder = Folder::new();
    let base = folder.put("base.json", &scaled(1.0, 0.01));
    let mut other = scaled(1.0, 0.01);
    (other.cases, other.planned, other.complete) = (Vec::new(), Vec::new(), false);
    let other = folder.put("other.json", &other);
    let (code, _, told) = compare(&["--threshold", "5%"], &[&base, &other]);
    assert_eq!(code, 1);
    assert!(told.contains("nothing was checked"), "{told}");
}

#[test]
fn the_baseline_is_a_file_or_part_of_a_name_that_fits_one() {
    let folder = Folder::new();
    let slow = fixture::record("Slow Y1", &fixture::SLOW);
    let (a, b) = (folder.put("all/first.json", &scaled(1.0, 0.01)), folder.put("all/second.json", &slow));
    let outside = folder.put("outside.json", &fixture::record("Near Z1", &fixture::NEAR));
    let base_of = |baseline: &str| -> String {
        let (code, out, told) = compare(&["--json", "--baseline", baseline], &[&folder.path("all")]);
        assert_eq!(code, 0, "{told}");
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        json["base"]["device"].as_str().unwrap().to_owned()
    };
    assert_eq!(base_of("second"), "Slow Y1");
    assert_eq!(base_of("example"), "Example X1");
    assert_eq!(base_of(b.to_str().unwrap()), "Slow Y1");
    assert_eq!(base_of(outside.to_str().unwrap()), "Near Z1");
    for (baseline, told) in [("s", "fits several"), ("nobody", "no such file")] {
        let (code, _, error) = compare(&["--baseline", baseline], &[&a, &b]);
        assert_eq!(code, 2);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_folder_stands_for_its_documents_one_level_down_and_a_bad_one_is_passed_over() {
    let folder = Folder::new();
    folder.put("all/a.json", &scaled(1.0, 0.01));
    folder.put("all/deep/b.json", &scaled(1.1, 0.01));
    folder.put("all/deep/deeper/c.json", &scaled(1.2, 0.01));
    fs::write(folder.path("all/bad.json"), "{\"schema_version\": 99}").unwrap();
    fs::write(folder.path("all/readme.txt"), "no document").unwrap();
    let (code, out, told) = compare(&["--json"], &[&folder.path("all")]);
    assert_eq!(code, 0, "{told}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["against"].as_array().unwrap().len(), 1);
    assert!(told.contains("passed over") && told.contains("bad.json: has schema version 99"), "{told}");
    let (code, _, told) = compare(&[], &[&folder.path("all/a.json"), &folder.path("all/bad.json")]);
    assert_eq!(code, 2, "a named document must be read: {told}");
    fs::create_dir(folder.path("empty")).unwrap();
    assert_eq!(compare(&[], &[&folder.path("empty")]).0, 2);
}

#[test]
fn a_comparison_comes_in_five_formats_and_into_a_file() {
    let folder = Folder::new();
    let (a, b) = (folder.put("a.json", &scaled(1.0, 0.01)), folder.put("b.json", &scaled(1.3, 0.01)));
    let begins =
        [("table", "A  Example"), ("markdown", "### "), ("csv", "comparison,"), ("json", "{"), ("html", "<!DOCTYPE")];
    for (format, begin) in begins {
        let (code, out, told) = compare(&["--format", format], &[&a, &b]);
        assert!(code == 0 && out.starts_with(begin), "{format}: {told}{out:.40}");
        let file = folder.path("out");
        let (code, nothing, told) = compare(&["--format", format, "-o", file.to_str().unwrap()], &[&a, &b]);
        assert_eq!((code, &*nothing), (0, ""), "{told}");
        assert_eq!(fs::read_to_string(file).unwrap(), out, "{format}");
    }
}

#[test]
fn the_winning_variant_may_differ_between_devices() {
    let folder = Folder::new();
    let mut other = scaled(1.0, 0.01);
    // On the other device the naive router beats the tiled one.
    for case in other.cases.iter_mut().filter(|case| case.id.starts_with("gating/router/tiled/f32")) {
        case.timing = fixture::timing(case.timing.median_s.get() * 100.0, 0.01);
        case.achieved.flop_per_s = case.work.flop / case.timing.median_s;
        case.achieved.bytes_per_s = case.bytes() / case.timing.median_s;
        case.achieved.fraction_of_roofline = case.achieved.roofline_s / case.timing.median_s;
    }
    let (a, b) = (folder.put("a.json", &scaled(1.0, 0.01)), folder.put("b.json", &other));
    let (_, out, _) = compare(&["--json", "--only", "gating/router"], &[&a, &b]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let against = &json["against"][0];
    let best = &against["best"].as_array().unwrap()[0];
    assert_eq!((best["base_variant"].as_str(), best["other_variant"].as_str()), (Some("tiled"), Some("naive")));
    assert!(best["id"].as_str().unwrap().starts_with("gating/router/*/f32"), "{best}");
    let same = against["cases"].as_array().unwrap();
    assert_eq!(same.len(), 3, "tiled f32, naive f32 and tiled f16, each with itself");
    assert!(same.iter().all(|case| case["base_variant"] == case["other_variant"]));
}

#[test]
fn a_small_device_can_be_the_more_efficient_one() {
    let folder = Folder::new();
    let mut small = fixture::record("Small", &fixture::SLOW);
    for case in &mut small.cases {
        case.timing = fixture::timing(case.achieved.roofline_s.get() / 0.95, 0.01);
        case.achieved.flop_per_s = case.work.flop / case.timing.median_s;
        case.achieved.bytes_per_s = case.bytes() / case.timing.median_s;
        case.achieved.fraction_of_roofline = case.achieved.roofline_s / case.timing.median_s;
    }
    let (a, b) = (folder.put("a.json", &scaled(1.0, 0.01)), folder.put("b.json", &small));
    let (_, out, _) = compare(&["--json"], &[&a, &b]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    for (name, family) in json["portability"]["families"].as_object().unwrap() {
        let share = |at: usize| family["efficiency"][at].as_f64().unwrap();
        assert!((share(1) - 0.95).abs() < 1e-9 && share(1) > share(0), "{name}: {family}");
        let portability = family["portability"].as_f64().unwrap();
        assert!(share(0).min(1.0) < portability && portability < 0.95, "{name}: {family}");
    }
}

#[test]
fn llama_bench_s_figures_stand_beside_the_ceilings() {
    let folder = Folder::new();
    let a = folder.put("a.json", &scaled(1.0, 0.01));
    let theirs = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/llama-bench.json");
    let (code, out, told) = compare(&["--json", "--llama-bench", theirs], &[&a]);
    assert_eq!(code, 0, "{told}");
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let rows = json["llama_bench"]["rows"].as_array().unwrap();
    let tests: Vec<_> = rows.iter().map(|row| row["test"].as_str().unwrap()).collect();
    assert_eq!(tests, ["pp512", "tg128", "pp512+tg128", "pp512"]);
    // 2 x 6.74e9 parameters x 4312.7 tokens/s, of the larger ceiling, 120 TFLOP/s.
    let flop = rows[0]["flop_per_s"].as_f64().unwrap();
    assert!((flop / (2.0 * 6_738_415_616.0 * 4312.7) - 1.0).abs() < 1e-12);
    assert!((rows[0]["of_ceiling"].as_f64().unwrap() - flop / 120e12).abs() < 1e-12);
    // 3.83 GB a token x 131.5 tokens/s, of 3.9 TB/s.
    assert!((rows[1]["bytes_per_s"].as_f64().unwrap() / (3_825_065_984.0 * 131.5) - 1.0).abs() < 1e-12);
    assert!((rows[1]["of_ceiling"].as_f64().unwrap() - 3_825_065_984.0 * 131.5 / 3.9e12).abs() < 1e-12);
    assert!(
        rows[2]["of_ceiling"].is_null() && rows[3]["of_ceiling"].is_null(),
        "both at once, and a mixture of experts"
    );
    for format in ["table", "markdown", "html"] {
        let (code, out, _) = compare(&["--format", format, "--llama-bench", theirs], &[&a]);
        assert!(code == 0 && out.contains("pp512+tg128") && out.contains("qwen3moe"), "{format}: {out}");
    }
    for bad in ["", "[]", "{}", "[{\"model_type\": 1}]", "[1", &"[".repeat(100_000)] {
        let file = folder.path("lb.json");
        fs::write(&file, bad).unwrap();
        let (code, _, told) = compare(&["--llama-bench", file.to_str().unwrap()], &[&a]);
        assert!(code == 2 && told.contains("not an output of llama-bench"), "{bad:.20}: {told}");
    }
    let text = fs::read_to_string(theirs).unwrap();
    for (from, to) in
        [("4312.7", "-1"), ("4312.7", "1e300"), ("3825065984", "0"), ("\"n_prompt\": 512", "\"n_prompt\": -5")]
    {
        let file = folder.path("lb.json");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let (code, _, told) = compare(&["--llama-bench", file.to_str().unwrap()], &[&a]);
        assert!(code == 2 && told.contains("cannot be"), "{from} -> {to}: {told}");
    }
}

#[test]
fn help_documents_exit_codes_and_quiet() {
    let help = String::from_utf8(supernode().arg("--help").output().unwrap().stdout).unwrap();
    for part in ["Exit codes:", "130", "--quiet", "NO_COLOR", "doctor"] {
        assert!(help.contains(part), "{part} is missing: {help}");
    }
    supernode().assert().code(2);
    supernode().arg("no-such-command").assert().code(2);
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = supernode().args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["compare", "export", "doctor", "--threshold"] {
            let word = if shell == "fish" { word.trim_start_matches('-') } else { word };
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    supernode().args(["completions", "tcsh"]).assert().code(2);
}

#[cfg(target_os = "linux")]
#[test]
fn the_completion_script_is_sound_bash() {
    let script = supernode().args(["completions", "bash"]).output().unwrap().stdout;
    let folder = Folder::new();
    fs::write(folder.path("completion.bash"), script).unwrap();
    let complete = "source \"$0\"; COMP_WORDS=(supernode comp); COMP_CWORD=1; _supernode supernode comp supernode; \
                    echo \"${COMPREPLY[@]}\"";
    let output = std::process::Command::new("bash").args(["-c", complete]).arg(folder.path("completion.bash")).output();
    let output = output.unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    assert!(
        words.contains("compare") && words.contains("completions"),
        "{words}{:?}",
        String::from_utf8(output.stderr)
    );
}

#[test]
fn each_command_has_a_man_page() {
    let page = String::from_utf8(supernode().arg("man").output().unwrap().stdout).unwrap();
    assert!(page.contains(".TH supernode 1") && page.contains("Exit codes"), "{page:.200}");
    let folder = Folder::new();
    supernode().args(["man", "-o"]).arg(folder.path("man1")).assert().success();
    for name in ["supernode", "supernode-compare", "supernode-export", "supernode-doctor", "supernode-project"] {
        let page = fs::read_to_string(folder.path(&format!("man1/{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")), "{name}: {page:.200}");
    }
}

#[test]
fn doctor_answers_with_its_exit_code_and_advice() {
    let output = supernode().args(["doctor", "--json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let has_gpu = json["gpu"].as_bool().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!has_gpu)));
    assert_eq!(json["advice"].as_array().unwrap().is_empty(), has_gpu, "advice is for those without a GPU");
    assert!(!json["checks"].as_array().unwrap().is_empty());
    let text = supernode().arg("doctor").output().unwrap();
    assert_eq!(String::from_utf8(text.stdout).unwrap().contains("What to do"), !has_gpu);
}

#[test]
fn a_file_that_is_no_record_is_one_line_for_every_command() {
    let folder = Folder::new();
    let bad = folder.path("bad.json");
    for bytes in [&b"\x1b[31mred"[..], b"{}", b"", b"\xff\xfe", b"{\"schema_version\": 1}"] {
        fs::write(&bad, bytes).unwrap();
        for arguments in
            [&["compare"][..], &["export", "--format", "csv"], &["report"], &["schema", "--check"], &["project"]]
        {
            let output = supernode()
                .args(arguments)
                .arg(&bad)
                .arg(if arguments[0] == "compare" { &*bad } else { Path::new("-q") })
                .output();
            let output = output.unwrap();
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
            assert_eq!(told.trim_end().lines().count(), 1, "{arguments:?}: {told}");
            assert!(!told.trim_end().contains(char::is_control), "{arguments:?}: {told:?}");
        }
    }
}

#[test]
fn the_extremes_that_a_record_may_hold_are_shown() {
    let folder = Folder::new();
    let mut record = scaled(1.0, 0.01);
    let case = &mut record.cases[0];
    case.timing = fixture::timing(1e-300, 0.0);
    (case.work.flop, case.work.bytes_read, case.work.bytes_written) = Default::default();
    (case.achieved.flop_per_s, case.achieved.bytes_per_s) = Default::default();
    case.achieved.roofline_s = Seconds::ZERO;
    case.achieved.fraction_of_roofline = 0.0;
    let case = &mut record.cases[1];
    case.timing = fixture::timing(1e300, 0.0);
    case.achieved.flop_per_s = case.work.flop / case.timing.median_s;
    case.achieved.bytes_per_s = case.bytes() / case.timing.median_s;
    case.achieved.fraction_of_roofline = case.achieved.roofline_s / case.timing.median_s;
    let (a, b) = (folder.put("a.json", &record), folder.put("b.json", &scaled(1.0, 0.01)));
    for format in ["table", "markdown", "csv", "json", "html"] {
        for files in [[&*a, &*b], [&*b, &*a]] {
            let (code, out, told) = compare(&["--format", format], &files);
            assert_eq!(code, 0, "{told}");
            assert!(!out.contains("NaN") && !out.contains("inf "), "{format}: {out}");
        }
    }
}

#[test]
fn texts_of_specifications_do_not_steer_a_terminal() {
    let folder = Folder::new();
    let facts =
        |file: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("specs").join(file)).unwrap();
    let (chip, fabric, model) =
        (facts("chips/h100.toml"), facts("fabrics/roce-cluster.toml"), facts("models/llama-3.1-8b.json"));
    let escape = |text: &str, from: &str, to: &str| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from} is not in the file any more");
        changed
    };
    let hostile = [
        ("chip", "a.toml", escape(&chip, "title = \"", "title = \"\\u001b[31m")),
        ("chip", "b.toml", escape(&chip, "source = \"", "source = \"\\u202e")),
        ("chip", "c.toml", "\"\\u001b[31m\" = 1".to_owned()),
        ("chip", "d.toml", "name = \u{1b}[31m".to_owned()),
        ("fabric", "e.toml", escape(&fabric, "name = \"", "name = \"\\u0007")),
        ("model", "f.json", escape(&model, "\"llama\"", "\"\\u001b[31mllama\"")),
        ("model", "g.json", escape(&model, "\"hidden_size\": ", "\"hidden_size\": \"\\u202e\u{1b}\", \"x\": ")),
        ("model", "h.json", "\u{1b}]0;x\u{7}".to_owned()),
    ];
    for (kind, name, text) in hostile {
        let file = folder.path(name);
        fs::write(&file, text).unwrap();
        let mut command = supernode();
        // As on a terminal, where escape sequences are not stripped.
        command.env("CLICOLOR_FORCE", "1").args(["project", "--phase", "decode"]).arg(format!("--{kind}")).arg(&file);
        if kind != "chip" {
            command.args(["--chip", "h100"]);
        }
        let output = command.output().unwrap();
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {told}");
        assert!(!told.replace('\n', "").contains(|c: char| c.is_control() || c == '\u{202e}'), "{name}: {told:?}");
    }
}

#[test]
fn quiet_leaves_results_warnings_and_errors_alone_on_standard_error() {
    let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json");
    let folder = Folder::new();
    folder.put("all/a.json", &scaled(1.0, 0.01));
    folder.put("all/b.json", &scaled(1.1, 0.01));
    fs::write(folder.path("all/bad.json"), "{}").unwrap();
    let run = |arguments: &[&str], file: &Path| -> String {
        let output = supernode().args(arguments).arg(file).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    };
    let bench = ["fabric", "bench", "--ep", "32", "--experts", "256", "--load"];
    assert!(run(&bench, &record).contains("token counts by expert: case gating/"));
    assert_eq!(run(&[&["--quiet"], bench.as_slice()].concat(), &record), "");
    let warned = run(&["--quiet", "compare"], &folder.path("all"));
    assert!(warned.starts_with("passed over: ") && warned.lines().count() == 1, "{warned}");
}

/// Rust files of a folder and below.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn only_progress_writes_to_standard_error_and_main_its_error_line() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let writers = ["eprint", "stderr()", "new_spinner", "ProgressBar::"];
    let mut found = sources(&source);
    found.retain(|file| file.extension().is_some_and(|end| end == "rs"));
    found.retain(|file| {
        let text = fs::read_to_string(file).unwrap();
        writers.iter().any(|word| text.contains(word))
    });
    found.sort();
    assert_eq!(found, [source.join("cli/progress.rs"), source.join("main.rs")]);
}

#[test]
fn explain_takes_the_flags_of_a_question_and_no_others() {
    let help =
        |command: &str| String::from_utf8(supernode().args([command, "--help"]).output().unwrap().stdout).unwrap();
    for flag in ["--model", "--expert-load", "--chip-memory-gb", "--json"] {
        assert!(help("explain").contains(flag) && help("project").contains(flag), "{flag}");
    }
    for flag in ["--search", "--trace", "--flows", "--fault"] {
        // A flag begins a line; the text of another may name it.
        let line = format!("\n      {flag}");
        assert!(!help("explain").contains(&line) && help("project").contains(&line), "{flag}");
    }
    for value in ["replicated  ", "uniform  ", "power:ALPHA  "] {
        assert!(help("project").contains(value), "a line for each value: {value}");
    }
}
