//! Fleet documents: read, refused, worked out, gathered and merged, from files and from the command line.

use std::path::Path;

use supernode_bench::record::{self, FleetRecord, OutlierSubject, RecordError, SlowCause};

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

#[test]
fn values_that_cannot_be_are_refused() {
    let cases: [(fn(&mut FleetRecord), &str); 9] = [
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
