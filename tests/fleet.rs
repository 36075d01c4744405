//! Fleet documents: read, refused, worked out, gathered and merged, from files and from the command line.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use assert_cmd::Command;
use supernode_bench::record::{
    self, FleetRecord, OutlierSubject, RankFiles, RankNote, RecordError, RefusedTransfer, SlowCause,
};
use supernode_bench::report::{Page, page, terminal};

fn example() -> FleetRecord {
    record::load_fleet(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/fleet.json"))).unwrap()
}

/// What a reader says of the example after an edit.
fn refusal(edit: impl FnOnce(&mut FleetRecord)) -> String {
    let mut fleet = example();
    edit(&mut fleet);
    let bytes = serde_json::to_vec(&fleet).unwrap();
    record::parse_fleet(&bytes, Path::new("fleet.json")).unwrap_err().to_string()
}

#[test]
fn the_example_is_whole_and_obeys_the_published_schema() {
    let fleet = example();
    assert!(fleet.complete && fleet.lacking().is_empty());
    let validator = jsonschema::validator_for(&record::fleet_schema()).unwrap();
    let document = serde_json::to_value(&fleet).unwrap();
    assert_eq!(validator.iter_errors(&document).map(|e| e.to_string()).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn the_committed_fleet_schema_is_that_of_the_types() {
    let committed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/specs/fleet.schema.json")).unwrap();
    let current = serde_json::to_string_pretty(&record::fleet_schema()).unwrap() + "\n";
    assert!(committed == current, "regenerate it: cargo run -- schema --fleet > specs/fleet.schema.json");
}

#[test]
fn a_saved_fleet_loads_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fleet.json");
    record::save_fleet(&path, &example()).unwrap();
    assert_eq!(record::load_fleet(&path).unwrap(), example());
}

#[test]
fn a_rank_with_slower_clocks_is_named_with_what_is_slower_and_nothing_else_is() {
    let fleet = example();
    let decode = fleet.outliers.iter().find(|one| matches!(one.subject, OutlierSubject::Kernels { .. })).unwrap();
    assert_eq!((decode.rank, decode.cause), (3, SlowCause::Clocks), "{decode:?}");
    assert!((decode.time_ratio - 1.27).abs() < 0.03, "{decode:?}");
    assert!(fleet.outliers.iter().all(|one| one.rank == 3), "{:?}", fleet.outliers);
    assert_eq!(fleet.host_of(3), "node02");
}

#[test]
fn spread_and_outliers_of_a_file_are_not_believed() {
    let mut fleet = example();
    fleet.outliers.clear();
    fleet.spread.clear();
    fleet.complete = false;
    let read = record::parse_fleet(&serde_json::to_vec(&fleet).unwrap(), Path::new("x")).unwrap();
    assert_eq!(read, example());
}

#[test]
fn a_fleet_that_is_cut_off_is_refused_in_a_line_at_every_length() {
    let whole = serde_json::to_vec_pretty(&example()).unwrap();
    for length in (1..whole.len() - 1).step_by(997) {
        let error = record::parse_fleet(&whole[..length], Path::new("f.json")).unwrap_err();
        assert!(matches!(error, RecordError::Truncated { .. }), "{length}: {error}");
        assert!(!error.to_string().contains('\n'));
    }
}

type Edit = fn(&mut FleetRecord);

#[test]
fn values_that_cannot_be_are_refused() {
    let cases: [(Edit, &str); 9] = [
        (|f| f.plan.ranks = 3, "ranks[3].rank: 3, where there are 3"),
        (|f| f.plan.ranks = 4_000_000_000, "plan.ranks: 4000000000 entries"),
        (|f| f.ranks[1].rank = 0, "ranks: not ascending"),
        (|f| f.ranks[1].local_rank = 0, "another rank of this computer has it too"),
        (|f| f.ranks[2].host = 9, "ranks[2].host: 9, where there are 2"),
        (|f| f.hosts[1].name = "node01".to_owned(), "two computers have one name"),
        (|f| f.hosts[1].name = "a\u{1b}[2J".to_owned(), "control characters"),
        (|f| f.network.as_mut().unwrap().pairs[0].to = 0, "a rank sends to itself"),
        (|f| f.network.as_mut().unwrap().collectives[0].first_rank = u32::MAX, "beyond the 4 of the fleet"),
    ];
    for (edit, expected) in cases {
        let line = refusal(edit);
        assert!(line.contains(expected) && !line.contains('\n'), "{line}");
    }
}

#[test]
fn a_record_of_another_program_or_preset_is_refused_inside_a_fleet() {
    let line = refusal(|fleet| fleet.ranks[2].record.as_mut().unwrap().tool.version = "9.9".to_owned());
    assert!(line.contains("ranks[2].record.tool: not that of the fleet"), "{line}");
    let line = refusal(|fleet| fleet.ranks[1].alone.as_mut().unwrap().protocol.seed = 77);
    assert!(line.contains("ranks[1].alone.protocol"), "{line}");
}

#[test]
fn a_record_is_no_fleet_and_a_fleet_is_no_record() {
    let fleet = serde_json::to_vec(&example()).unwrap();
    let line = record::parse(&fleet, Path::new("f.json")).unwrap_err().to_string();
    assert!(line.contains("it is that of a fleet"), "{line}");
    let device = serde_json::to_vec(example().ranks[0].record.as_ref().unwrap()).unwrap();
    let line = record::parse_fleet(&device, Path::new("r.json")).unwrap_err().to_string();
    assert!(line.contains("it is that of a device"), "{line}");
}

#[test]
fn a_rank_without_a_whole_record_is_named_as_lacking() {
    let mut fleet = example();
    fleet.ranks[2].record = None;
    fleet.ranks.remove(1);
    let fleet = fleet.worked_out();
    assert_eq!(fleet.lacking(), [1, 2]);
    assert!(!fleet.complete);
}

#[test]
fn fleets_of_other_computers_merge_and_their_ranks_are_numbered_on() {
    let mut other = example();
    other.hosts[0].name = "node03".to_owned();
    other.hosts[1].name = "node04".to_owned();
    let merged = record::merge(example(), other).unwrap();
    assert_eq!(merged.plan.ranks, 8);
    assert_eq!(merged.ranks.iter().map(|rank| rank.rank).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    assert_eq!(merged.host_of(7), "node04");
    assert_eq!(merged.network.as_ref().unwrap().pairs.last().unwrap().to, 7);
    // What was merged is read again.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("merged.json");
    record::save_fleet(&path, &merged).unwrap();
    assert_eq!(record::load_fleet(&path).unwrap(), merged);
}

#[test]
fn fleets_that_overlap_or_differ_are_not_merged() {
    let line = record::merge(example(), example()).unwrap_err().to_string();
    assert!(line.starts_with("they overlap: device 0 of node01 is rank 0 of one and rank 0 of the other"), "{line}");
    let mut other = example();
    other.plan.seed = 2;
    let line = record::merge(example(), other).unwrap_err().to_string();
    assert!(line.contains("they differ in preset, seed or options"), "{line}");
}

fn supernode() -> Command {
    Command::cargo_bin("supernode").unwrap()
}

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/fleet.json");

/// The one line of a refused command.
fn refused(arguments: &[&str]) -> String {
    let output = supernode().args(arguments).output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

#[test]
#[cfg(not(feature = "mpi"))]
fn a_build_without_mpi_says_what_to_install() {
    for arguments in [&["fleet"][..], &["fleet", "--preset", "smoke", "-o", "fleet.json"]] {
        let line = refused(arguments);
        assert!(line.contains("apt install libopenmpi-dev libclang-dev") && line.contains("--features mpi"), "{line}");
    }
}

#[test]
fn a_fleet_that_is_missing_cut_off_or_a_record_is_refused_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.json");
    let whole = std::fs::read(EXAMPLE).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let cut = cut.to_str().unwrap();
    assert!(refused(&["fleet", "show", "missing.json"]).contains("missing.json: cannot be read"));
    for command in
        [&["fleet", "show", cut][..], &["report", cut], &["schema", "--check", cut], &["compare", cut, EXAMPLE]]
    {
        assert!(refused(command).contains("cut off at line"), "{command:?}");
    }
    let record = concat!(env!("CARGO_MANIFEST_DIR"), "/results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json");
    assert!(refused(&["fleet", "show", record]).contains("it is that of a device, where one of a fleet is wanted"));
    assert!(
        refused(&["fleet", "merge", EXAMPLE, EXAMPLE, "-o", "merged.json"])
            .contains("they overlap: device 0 of node01")
    );
}

#[test]
fn a_folder_without_notes_or_with_those_of_two_runs_is_refused_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let out = folder.path().join("fleet.json");
    let gather = ["fleet", "gather", path, "-o", out.to_str().unwrap()];
    assert!(refused(&gather).contains("no rank left a note in it"));
    assert!(refused(&["fleet", "gather", "/no/such/folder", "-o", "x.json"]).contains("cannot be listed"));
    let FleetRecord { created_at, tool, plan, hosts, fleet_schema_version, .. } = example();
    for rank in 0..2 {
        let host = hosts[0].clone();
        let created_at = if rank == 0 { created_at.clone() } else { "2026-01-01T00:00:00Z".to_owned() };
        let (tool, plan) = (tool.clone(), plan.clone());
        let (capacity, local_rank) = (None, rank);
        let note = RankNote { fleet_schema_version, created_at, tool, plan, capacity, rank, local_rank, host };
        std::fs::write(RankFiles::of(folder.path(), rank).note, serde_json::to_vec(&note).unwrap()).unwrap();
    }
    assert!(refused(&gather).contains("of another run than rank 0 (the time of the start differs)"));
    std::fs::write(RankFiles::of(folder.path(), 1).note, "{\"fleet_schema_version\": 1").unwrap();
    assert!(refused(&gather).contains("cut off at line 1"));
}

#[test]
fn a_fleet_is_shown_with_its_outlier_named_and_its_tiers_apart() {
    let output = supernode().args(["fleet", "show", EXAMPLE]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("rank 3 on node02 is 27 % slower in decode attention: clocks"), "{text}");
    assert!(text.contains("inside a computer: 2 pairs") && text.contains("between computers: 4 pairs"), "{text}");
    let json = supernode().args(["fleet", "show", EXAMPLE, "--json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["outliers"][0]["rank"], 3);
}

#[test]
fn the_page_of_a_fleet_has_a_strip_of_its_devices_with_outliers_marked() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    supernode().args(["report", EXAMPLE, "--measured-only", "-o", page.to_str().unwrap()]).assert().success();
    let page = std::fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("class=\"strip\"").count(), 2, "one per computer");
    assert_eq!(page.matches("class=\"device\"").count(), 3);
    assert_eq!(page.matches("class=\"device outlier\"").count(), 1);
    assert_eq!(page.matches("id=\"record-0\"").count(), 1, "the typical device alone has a section");
    assert!(!page.contains("id=\"record-1\""));
}

#[test]
fn a_fleet_is_exported_and_compared_as_one_record_per_rank() {
    let csv = supernode().args(["export", EXAMPLE, "--format", "csv"]).output().unwrap();
    let csv = String::from_utf8(csv.stdout).unwrap();
    assert_eq!(csv.lines().count(), 1 + 4 * 3, "{csv}");
    assert!((0..4).all(|rank| csv.contains(&format!("fleet.json/rank-0000{rank}.json"))), "{csv}");
    let compared = supernode().args(["compare", EXAMPLE, "--threshold", "20%"]).output().unwrap();
    assert_eq!(compared.status.code(), Some(1), "rank 3 is 27 % slower");
    assert!(String::from_utf8(compared.stderr).unwrap().contains("rank-00003.json"));
}

#[test]
fn no_text_of_a_fleet_becomes_markup_or_steers_a_terminal() {
    let mut fleet = example();
    fleet.hosts[0].name = "<script>alert(1)</script>".to_owned();
    fleet.mpi_library = Some("<img src=x onerror=alert(1)>".to_owned());
    fleet.ranks[1].problem = Some("<b>lost</b>".to_owned());
    let network = fleet.network.as_mut().unwrap();
    let refused = RefusedTransfer { what: "<i>all</i>".to_owned(), rank: 0, reason: "\u{2067}<u>".to_owned() };
    network.refused.push(refused);
    let page = page(&Page { fleets: &[fleet.clone()], ..Page::default() });
    let shown = page.split("<script").next().unwrap();
    assert!(!["<script>alert", "<img", "<i>all", "\u{2067}"].iter().any(|text| shown.contains(text)));
    let text = terminal::fleet::fleet(&fleet, true).replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
    assert!(!text.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{2067}'), "{text:?}");
}
