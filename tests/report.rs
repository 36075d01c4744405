//! What people read: one screen or the tables of a record on a terminal, and the page.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use supernode_bench::record::{Caveat, DeviceType, Record, save};
use supernode_bench::report::{Page, ProjectionPair, terminal};

fn whole() -> Record {
    fixture::record("Example X1", &fixture::FAST)
}

fn page(records: &[Record], projections: &[ProjectionPair]) -> String {
    supernode_bench::report::page(&Page { records, projections, ..Page::default() })
}

fn plain(record: &Record) -> String {
    anstream::adapter::strip_str(&terminal::table(record)).to_string()
}

/// The tags of the page that open a section, a figure or a table, to see its bones.
fn bones(page: &str) -> Vec<&str> {
    page.split('<').filter(|tag| ["h1>", "h2>", "h3>", "caption>"].iter().any(|head| tag.starts_with(head))).collect()
}

#[test]
fn a_record_reads_as_one_table() {
    let mut record = whole();
    record.caveats.push(Caveat::WallClock);
    insta::assert_snapshot!(plain(&record));
}

#[test]
fn a_table_fits_a_hundred_columns_unless_an_id_is_longer() {
    let longest = plain(&whole()).lines().map(|line| line.chars().count()).max();
    assert!(longest.unwrap() <= 100, "{longest:?}");
}

#[test]
fn a_record_without_cases_is_still_readable() {
    let record = fixture::bare("Example X1", &fixture::FAST);
    insta::assert_snapshot!(plain(&record));
    assert!(page(&[record], &[]).contains("not complete"));
}

#[test]
fn a_stranger_s_text_is_escaped_everywhere() {
    let mut record = whole();
    let evil = "<script>alert(1)</script>\" onload=\"alert(2)'&";
    record.device.name = evil.to_owned();
    record.device.driver_info = evil.to_owned();
    record.host.cpu = evil.to_owned();
    record.left_out[0].reason = evil.to_owned();
    for case in &mut record.cases {
        case.id = format!("{evil}{}", case.id);
        (case.kernel, case.variant, case.model) = (evil.to_owned(), evil.to_owned(), evil.to_owned());
        case.shape.insert(evil.to_owned(), 1);
    }
    let mut pair = fixture::projections();
    pair[0].on_fabric.model = evil.to_owned();
    pair[0].on_fabric.fabric = evil.to_owned();
    let page = page(&[record], &pair);
    // The page's own: its data, the record, and two that run.
    assert_eq!(page.matches("<script").count(), 4, "markup came through");
    assert_eq!(page.matches("</script").count(), 4, "markup came through");
    assert!(!page.contains("onload=\"alert"), "markup came through");
    assert!(page.contains("&lt;script&gt;") && page.contains("\\u003cscript>"));
}

#[test]
fn a_terminal_sees_no_escape_codes_of_a_record() {
    let mut record = whole();
    record.device.name = "X\u{1b}]0;owned\u{7}\u{202e}".to_owned();
    record.cases[0].kernel = "k\u{1b}[2J".to_owned();
    assert!(!plain(&record).chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'));
}

#[test]
fn the_page_has_its_sections_tables_and_charts() {
    let page = page(&[whole(), fixture::record("Example X2", &fixture::SLOW)], &fixture::projections());
    insta::assert_snapshot!(bones(&page).join("\n"));
    let places = page.matches("data-chart=\"").count();
    assert_eq!(page.matches("role=\"img\"").count(), places);
    assert_eq!(places, 1 + 2 * 3 + 3);
}

/// The page without the text of its scripts and data.
fn without_scripts(page: &str) -> String {
    page.split("<script").map(|part| part.split_once("</script>").map_or(part, |(_, rest)| rest)).collect()
}

#[test]
fn the_page_needs_no_network_and_runs_only_the_scripts_that_its_policy_names() {
    let page = page(&[whole()], &fixture::projections());
    for outside in ["http://", "https://", "<link", "@import", "url(", "src=", " onclick", " onload", " style="] {
        assert!(!without_scripts(&page).contains(outside), "{outside}");
    }
    let policy = page.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let named: Vec<&str> = policy.split("sha256-").skip(1).map(|rest| rest.split("'").next().unwrap()).collect();
    let scripts: Vec<String> = page
        .split("<script>")
        .skip(1)
        .map(|rest| STANDARD.encode(Sha256::digest(rest.split("</script>").next().unwrap())))
        .collect();
    assert_eq!(named, scripts);
}

#[test]
fn the_record_in_the_page_is_the_record() {
    let page = page(&[whole()], &[]);
    let text = page.split("id=\"record-0-json\">").nth(1).unwrap().split("</script>").next().unwrap();
    assert_eq!(serde_json::from_str::<Record>(text).unwrap(), whole());
}

fn committed_records() -> Vec<PathBuf> {
    let folder = fs::read_dir("results").unwrap().map(|entry| entry.unwrap().path());
    let mut records: Vec<PathBuf> = folder.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    records.sort();
    assert!(records.len() >= 2);
    records
}

#[test]
fn the_page_of_both_records_in_results_stays_under_two_megabytes() {
    let records = committed_records();
    // The whole page, with what-ifs and claims.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    let mut command = Command::cargo_bin("supernode").unwrap();
    command.arg("report").args(&records).arg("-o").arg(&path).assert().success();
    let size = fs::metadata(&path).unwrap().len();
    assert!(size < 2_000_000, "{size} bytes");
}

#[test]
fn the_table_of_projections_says_tokens_per_joule_and_what_their_power_rests_on() {
    let shown = page(&[], &fixture::projections());
    assert!(shown.contains(">tokens per joule</th>"));
    assert!(shown.contains("1.67 (1.19 to 2.33)") && shown.contains("power of a package"));
}

#[test]
fn figures_at_the_edge_draw_a_page_all_the_same() {
    let mut record = whole();
    record.device.device_type = DeviceType::Software;
    for (i, case) in record.cases.iter_mut().enumerate() {
        let extreme = [0.0, 1e-300, 1e300, 5e-324][i % 4];
        case.work.flop = supernode_bench::units::Flop::new(extreme);
        case.achieved.flop_per_s = supernode_bench::units::FlopPerSecond::new(extreme);
        case.achieved.fraction_of_roofline = extreme;
        case.timing.ci95_s = Default::default();
    }
    let mut pairs = fixture::projections();
    pairs[0].on_fabric.tokens_per_s_per_chip.median = 0.0;
    pairs[1].on_fabric.tokens_per_s_per_chip.median = f64::NAN;
    pairs[1].on_baseline.as_mut().unwrap().terms_s = Default::default();
    assert!(page(&[record.clone()], &pairs).ends_with("</html>"));
    record.ceilings.values_mut().for_each(|ceiling| ceiling.value = 1e308);
    assert!(page(&[record.clone()], &[]).ends_with("</html>"));
    record.ceilings.clear();
    assert!(page(&[record], &[]).ends_with("</html>"));
    assert!(page(&[], &[]).ends_with("</html>"));
}

#[test]
fn the_command_writes_the_page_beside_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x1.json");
    save(&path, &whole()).unwrap();
    let supernode = || Command::cargo_bin("supernode").unwrap();
    supernode().arg("report").arg(&path).assert().success().stdout(predicates::str::contains("x1.html"));
    assert!(fs::read_to_string(folder.path().join("x1.html")).unwrap().starts_with("<!DOCTYPE html>"));
    let onto_itself = supernode().arg("report").arg(&path).arg("-o").arg(&path).assert();
    onto_itself.code(2).stderr(predicates::str::contains("would replace"));
    let alone = supernode()
        .current_dir(folder.path())
        .args(["report", "--chip", "h800", "--fabric", "h800-ib", "--model", "qwen3-30b-a3b", "--chips", "64"])
        .assert();
    alone.success().stdout(predicates::str::contains("report.html"));
    assert!(fs::read_to_string(folder.path().join("report.html")).unwrap().contains("qwen3-30b-a3b decode on h800"));
    supernode().args(["report", "--measured-only"]).assert().code(2).stderr(predicates::str::contains("name one"));
    supernode().args(["schema", "--check"]).arg(&path).assert().success().stdout(predicates::str::contains("ok, 20"));
    supernode().args(["schema", "--check", "missing.json"]).assert().code(2);
}

#[test]
fn the_model_lies_in_a_page_that_stays_small_and_the_command_says_what_answers() {
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("module");
    fs::create_dir(&module).unwrap();
    let asked = |arguments: &[&str]| {
        let mut command = Command::cargo_bin("supernode").unwrap();
        let output = command.current_dir(folder.path()).args(["report", "--chip", "h800"]).args(arguments).output();
        let output = output.unwrap();
        let page = fs::read_to_string(folder.path().join("report.html")).unwrap_or_default();
        (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap(), page)
    };
    let (code, said, _) = asked(&["--module", "module"]);
    assert!(code == 2 && said.lines().count() == 1 && said.contains("make web"), "{said}");
    let put = |loader: &str, packed: &[u8]| {
        fs::write(module.join("model.js"), loader).unwrap();
        fs::write(module.join("model_bg.wasm.gz"), packed).unwrap();
    };
    let loader = "export { __wbg_init as default };";
    for (loader, packed) in [("1;", &b"\x1f\x8b"[..]), (&format!("{loader}</script>"), b"\x1f\x8b"), (loader, b"\0asm")]
    {
        put(loader, packed);
        let (code, said, _) = asked(&["--module", "module"]);
        assert!(code == 2 && said.contains("make web"), "{said}");
    }
    put(loader, b"\x1f\x8b");
    let (code, said, page) = asked(&["--module", "module"]);
    assert!(code == 0 && said.contains("answered by the model itself"), "{said}");
    assert!(page.contains("'wasm-unsafe-eval'") && page.contains("id=\"model-module\">H4s=<"));
    let script = page.split("<script type=\"module\">").nth(1).unwrap().split("</script>").next().unwrap();
    assert!(page.contains(&format!("'sha256-{}'", STANDARD.encode(Sha256::digest(script)))), "its hash is not named");
    put(loader, &[b"\x1f\x8b".to_vec(), vec![0; 1_600_000]].concat());
    let (code, said, page) = asked(&["--module", "module"]);
    assert!(code == 0 && said.contains("exceeds 2 MB") && !page.contains("model-module"), "{said}");
    let (code, said, page) = asked(&[]);
    assert!(code == 0 && said.contains("interpolated") && !page.contains("wasm-unsafe-eval"), "{said}");
}

/// What `supernode report` prints about a record in an empty folder, as a pipe has it.
fn printed(record: &Path, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(record, folder.path().join("mine.json")).unwrap();
    let mut command = Command::cargo_bin("supernode").unwrap();
    let output = command.current_dir(folder.path()).args(["report", "mine.json"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn one_screen_holds_what_a_run_comes_to() {
    for record in committed_records() {
        let screen = printed(&record, &[]);
        assert!(screen.lines().count() <= 42, "{} lines:\n{screen}", screen.lines().count());
        let widest = screen.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{widest:?} columns:\n{screen}");
        let parts = ["Ceilings", "f32 multiply-add", "MoE gating", "Expert matmul", "Attention", "Whole layer"];
        for part in parts.into_iter().chain(["mine.json", "mine.html", "--details"]) {
            assert!(screen.contains(part), "{part} is missing:\n{screen}");
        }
        // A CPU that poses as a GPU: the headline is that of the published chip.
        assert!(screen.contains("384 x ascend-910c on cloudmatrix384"), "{screen}");
        assert_eq!(screen.matches("of the measured device").count(), 1, "{screen}");
    }
}

#[test]
fn a_gpu_is_its_own_headline_and_a_wrong_kernel_is_on_the_screen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x1.json");
    save(&path, &whole()).unwrap();
    let screen = printed(&path, &[]);
    assert!(screen.contains("384 x Example X1 on cloudmatrix384"), "{screen}");
    assert!(!screen.contains("of the measured device"), "{screen}");
    assert!(screen.contains("1 WRONG OR FAILED") && screen.contains("gating/sort/scan/f32/mixtral-8x7b"), "{screen}");
}

#[test]
fn details_are_all_tables_of_the_record_and_its_projections() {
    let record = committed_records().remove(0);
    let text = printed(&record, &["--details"]);
    let loaded = supernode_bench::record::load(&record).unwrap();
    for line in plain(&loaded).lines() {
        assert!(text.contains(line), "{line}");
    }
    let device = format!("384 x {}", loaded.device.name);
    for part in ["384 x ascend-910c", &device, "Parts of the step", "wrote mine.html"] {
        assert!(text.contains(part), "{part}");
    }
}
