//! The document on disk: what comes back is what was written, and nothing else is let in.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use supernode_bench::kernels::Operation;
use supernode_bench::record::{
    Bound, Browser, CachePoint, CacheState, Candidate, Case, Caveat, Ceiling, CeilingKind, Clock, ClockSteps, FmaForm,
    Journal, LastLevelCache, LayerPart, LeftOut, MemorySource, Reading, Record, RecordError, Reference, Rejected,
    ResumeError, RuntimeChecks, SCHEMA_VERSION, Second, Selection, Tuning, load, parse, save, schema, write_atomically,
};
use supernode_bench::units::{Bytes, BytesPerSecond, Flop, Seconds};

fn whole() -> Record {
    fixture::record("Example X1", &fixture::FAST)
}

/// Small enough to be cut at every byte.
fn small() -> Record {
    let mut record = whole();
    record.cases.truncate(1);
    record.planned = vec![record.cases[0].id.clone()];
    record
}

/// With everything that version 2 added.
fn tuned() -> Record {
    let mut record = small();
    record.protocol.selection = Selection::Tuned;
    record.reference = Some(Reference {
        invocations: 4096,
        rounds: 32,
        threshold: 1.1,
        readings: vec![Reading { at_s: Seconds::new(0.5), cases_done: 0, median_s: Seconds::new(0.01) }],
    });
    let rate = record.ceilings[&CeilingKind::MemoryRead].value;
    let case = &mut record.cases[0];
    let work = case.work;
    case.operations = [(Operation::F32, work.flop)].into();
    case.issued_flop = Some(work.flop * 1.25);
    case.achieved.fractions = [(CeilingKind::MemoryRead, case.achieved.bytes_per_s.get() / rate)].into();
    (case.shape, case.tokens_per_expert) = (
        [("tokens", 3), ("top_k", 2), ("experts", 4)].map(|(name, size)| (name.to_owned(), size)).into(),
        vec![3, 0, 2, 1],
    );
    let candidate = |variant: &str, time_s, compilation_s, reason: Option<&str>| Candidate {
        variant: variant.to_owned(),
        time_s,
        compilation_s,
        reason: reason.map(str::to_owned),
    };
    let [time, compilation] = [0.01, 0.2].map(|seconds| Some(Seconds::new(seconds)));
    case.tuning = Some(Tuning {
        candidates: vec![
            candidate("tiled", time, compilation, None),
            candidate("blocked", time, None, None),
            candidate("matrix", None, None, Some("no such feature")),
        ],
        second: Some(Second {
            variant: "blocked".to_owned(),
            time_ratio: 1.2,
            pairs: 6,
            agreement: case.verification.clone(),
        }),
        default_variant: "tiled".to_owned(),
        regret: Some(0.0),
        smaller_shape: [("tokens".to_owned(), 2)].into(),
        cost_s: Seconds::new(0.3),
        cost_cpu_s: None,
        cached: false,
    });
    let time = Seconds::new(1e-3);
    case.parts = vec![LayerPart {
        kernel: "sort".to_owned(),
        variant: "counting".to_owned(),
        launches: 3,
        work,
        median_s: time,
        ci95_s: [time, time],
        roofline_s: time,
        bound_by: Bound::Memory,
    }];
    record
}

fn told(bytes: &[u8]) -> String {
    parse(bytes, Path::new("results/a.json")).unwrap_err().to_string()
}

/// What `edit` of a sound record is refused with.
fn refusal(edit: impl FnOnce(&mut Record)) -> String {
    refusal_of(small(), edit)
}

fn refusal_of(mut record: Record, edit: impl FnOnce(&mut Record)) -> String {
    edit(&mut record);
    told(&serde_json::to_vec(&record).unwrap())
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    let committed = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/specs/record.schema.json")).unwrap();
    let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    assert!(committed == current, "regenerate it: cargo run -- schema > specs/record.schema.json");
}

#[test]
fn a_saved_document_obeys_the_published_schema() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let document = serde_json::to_value(whole()).unwrap();
    assert_eq!(validator.iter_errors(&document).map(|e| e.to_string()).collect::<Vec<_>>(), Vec::<String>::new());
    let mut foreign = document;
    foreign["surprise"] = 1.into();
    assert!(!validator.is_valid(&foreign), "an unknown field must be refused");
}

#[test]
fn a_saved_document_loads_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    save(&path, &whole()).unwrap();
    assert_eq!(load(&path).unwrap(), whole());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the document is left");
}

#[test]
fn a_document_cut_at_any_byte_is_an_error_and_never_a_panic() {
    let bytes = serde_json::to_vec(&small()).unwrap();
    for end in 0..bytes.len() {
        match parse(&bytes[..end], Path::new("cut.json")) {
            Err(RecordError::Empty { .. } | RecordError::Truncated { .. }) => {}
            other => panic!("{end} bytes: {other:?}"),
        }
    }
    assert_eq!(parse(&bytes, Path::new("whole.json")).unwrap(), small());
}

#[test]
fn each_kind_of_bad_file_has_its_own_line() {
    let newer = br#"{"schema_version": 7, "a field of tomorrow": {}}"#;
    let lines = [
        told(b""),
        told(b" \n"),
        told(b"PK\x03\x04"),
        told(b"{\"schema_version\": 1,\n \"complete\": tru"),
        told(b"[1, 2]"),
        told(br#"{"name": "left-pad", "version": "1.3.0"}"#),
        told(br#"{"schema_version": "1"}"#),
        told(br#"{"schema_version": 0}"#),
        told(newer),
        told(b"{\"schema_version\": 1,\n \"\x7f\\u001b[31mred\": true}"),
    ];
    insta::assert_snapshot!(lines.join("\n"));
    assert!(lines.iter().all(|line| !line.contains(char::is_control)));
}

#[test]
fn a_deeply_nested_file_is_refused() {
    for open in ["[", "{\"a\":"] {
        let bomb = format!("{{\"schema_version\": 1, \"caveats\": {}", open.repeat(200_000));
        parse(bomb.as_bytes(), Path::new("bomb.json")).unwrap_err();
    }
}

#[test]
fn an_endless_file_is_refused_by_what_was_read_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.json");
    fs::File::create(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    assert!(matches!(load(&path), Err(RecordError::TooLarge { .. })));
    #[cfg(target_os = "linux")]
    assert!(matches!(load(Path::new("/dev/zero")), Err(RecordError::TooLarge { .. })));
}

#[test]
fn values_that_cannot_be_are_refused() {
    let lines = [
        refusal(|r| r.created_at = "yesterday".to_owned()),
        refusal(|r| r.device.name = "red\u{1b}[31m".to_owned()),
        refusal(|r| r.device.name = "x".repeat(2000)),
        refusal(|r| r.cases[0].verification.value = 0.5),
        refusal(|r| r.cases[0].verification.checked = 0),
        refusal(|r| r.cases[0].timing.samples_s.clear()),
        refusal(|r| r.cases[0].timing.samples_s[3] = Seconds::new(-1.0)),
        refusal(|r| r.cases[0].timing.median_s = Seconds::new(9.0)),
        refusal(|r| r.cases[0].timing.ci95_s.reverse()),
        refusal(|r| r.cases[0].timing.runs_per_sample = 0),
        refusal(|r| r.cases[0].achieved.fraction_of_roofline = 0.99),
        refusal(|r| r.cases[0].kernel = " ".to_owned()),
        refusal(|r| r.cases.push(r.cases[0].clone())),
        refusal(|r| r.planned.push("gating/other".to_owned())),
        refusal(|r| r.ceilings.values_mut().for_each(|c| c.value = 0.0)),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_version_2_added_is_written_and_read() {
    let record = tuned();
    assert_eq!(parse(&serde_json::to_vec(&record).unwrap(), Path::new("a.json")).unwrap(), record);
    let validator = jsonschema::validator_for(&schema()).unwrap();
    assert!(validator.is_valid(&serde_json::to_value(record).unwrap()));
}

#[test]
fn a_document_of_version_1_is_read_as_it_meant() {
    let mut old = serde_json::to_value(small()).unwrap();
    old["schema_version"] = 1.into();
    old["protocol"].as_object_mut().unwrap().remove("selection").unwrap();
    old["cases"][0].as_object_mut().unwrap().remove("cache").unwrap();
    let read = parse(old.to_string().as_bytes(), Path::new("old.json")).unwrap();
    assert_eq!(read, small());
    assert_eq!((read.schema_version, read.protocol.selection), (SCHEMA_VERSION, Selection::AllVariants));
    assert_eq!((read.cases[0].cache, read.reference), (CacheState::Cold, None));
}

#[test]
fn a_routing_that_its_shape_does_not_allow_is_refused() {
    let told = |edit: fn(&mut Case)| refusal_of(tuned(), |record| edit(&mut record.cases[0]));
    assert!(told(|case| case.tokens_per_expert.push(0)).contains("5 for 4 experts"));
    assert!(told(|case| case.tokens_per_expert[0] = 4).contains("7 slots, where 3 tokens pick 2"));
    assert!(told(|case| case.tokens_per_expert = vec![0; 70_000]).contains("65536 are the most"));
    assert!(told(|case| case.shape.retain(|name, _| name != "experts")).contains("the shape has no experts"));
    let overflown = refusal_of(tuned(), |record| {
        let shape = &mut record.cases[0].shape;
        shape.extend(["tokens", "top_k"].map(|name| (name.to_owned(), u64::MAX)));
    });
    assert!(overflown.contains("6 slots"), "{overflown}");
    let mut negative = serde_json::to_value(tuned()).unwrap();
    negative["cases"][0]["tokens_per_expert"][0] = (-3).into();
    assert!(self::told(negative.to_string().as_bytes()).contains("invalid value"));
    let mut old = serde_json::to_value(tuned()).unwrap();
    old["schema_version"] = 2.into();
    old["cases"][0].as_object_mut().unwrap().remove("tokens_per_expert").unwrap();
    let read = parse(old.to_string().as_bytes(), Path::new("old.json")).unwrap();
    assert!(read.cases[0].tokens_per_expert.is_empty() && read.routing(None).is_none());
}

#[test]
fn the_gate_with_the_most_slots_over_so_many_experts_stands_for_a_document() {
    let mut record = whole();
    let mut routed = |at: usize, kernel: &str, counts: &[u32]| {
        let case = &mut record.cases[at];
        (case.kernel, case.tokens_per_expert) = (kernel.to_owned(), counts.to_vec());
    };
    routed(0, "sort", &[90, 10, 0]);
    routed(1, "softmax_topk", &[1, 2, 3]);
    routed(2, "softmax_topk", &[2, 4, 6]);
    routed(3, "softmax_topk", &[7, 7]);
    let found = |experts| record.routing(experts).map(|case| case.tokens_per_expert.clone());
    assert_eq!(found(None), Some(vec![7, 7]));
    assert_eq!(found(Some(3)), Some(vec![2, 4, 6]));
    assert_eq!(found(Some(256)), None);
}

/// A document whose warm case is under a cache's roof.
fn with_cache() -> Record {
    let mut record = tuned();
    let point = |mib: u32, rate: f64| CachePoint {
        working_set_bytes: Bytes::new(f64::from(mib << 20)),
        bytes_per_s: BytesPerSecond::new(rate),
        invocations: 16_384,
    };
    let points = vec![point(2, 9e12), point(4, 7e12), point(8, 4e12)];
    let (form, workgroup) = (Some(FmaForm::Outer), Some(256));
    let fma = record.ceilings[&CeilingKind::FmaF32].clone();
    record.ceilings.insert(CeilingKind::FmaF32, Ceiling { form, workgroup, ..fma.clone() });
    let roof = Ceiling {
        value: 9e12,
        working_set_bytes: Some(points[0].working_set_bytes),
        last_level_cache: Some(LastLevelCache::Measured { bytes: points[1].working_set_bytes }),
        points,
        ..fma
    };
    record.ceilings.insert(CeilingKind::CacheRead, roof);
    let case = &mut record.cases[0];
    case.cache = CacheState::Warm;
    // Under the roof of 4 MiB, not of the fastest 2.
    case.achieved.fractions.insert(CeilingKind::CacheRead, case.achieved.bytes_per_s.get() / 7e12);
    record
}

#[test]
fn how_a_roof_was_found_is_written_and_read_and_may_be_absent() {
    let record = with_cache();
    let text = serde_json::to_vec(&record).unwrap();
    assert_eq!(parse(&text, Path::new("a.json")).unwrap(), record);
    let validator = jsonschema::validator_for(&schema()).unwrap();
    assert!(validator.is_valid(&serde_json::to_value(&record).unwrap()));
    let mut old = serde_json::to_value(small()).unwrap();
    old["schema_version"] = 3.into();
    for field in ["form", "workgroup", "points", "last_level_cache"] {
        assert!(old["ceilings"]["fma_f32"].get(field).is_none(), "{field} is written where there is nothing to say");
    }
    let read = parse(old.to_string().as_bytes(), Path::new("old.json")).unwrap();
    assert_eq!(read.ceilings[&CeilingKind::FmaF32].form, None);
}

#[test]
fn working_sets_that_cannot_be_are_refused() {
    let roof = |kind: CeilingKind, edit: fn(&mut Ceiling)| {
        refusal_of(with_cache(), |record| edit(record.ceilings.get_mut(&kind).unwrap()))
    };
    let cache = |edit: fn(&mut Ceiling)| roof(CeilingKind::CacheRead, edit);
    assert!(cache(|c| c.points.reverse()).contains("do not grow"));
    assert!(cache(|c| c.points[1].bytes_per_s = BytesPerSecond::new(-1.0)).contains("below zero"));
    assert!(cache(|c| c.points[1].invocations = 0).contains("zero"));
    assert!(cache(|c| c.points = vec![c.points[0]; 100]).contains("64 are the most"));
    let without_the_fastest = |c: &mut Ceiling| {
        c.points.remove(0);
    };
    assert!(cache(without_the_fastest).contains("not among the points"));
    assert!(cache(|c| c.value = 1e12).contains("9e12"));
    let elsewhere = |c: &mut Ceiling| {
        c.last_level_cache = Some(LastLevelCache::AtLeast { bytes: Bytes::new(3e6) });
    };
    assert!(cache(elsewhere).contains("not among the points"));
    assert!(roof(CeilingKind::FmaF32, |c| c.workgroup = Some(0)).contains("zero"));
    assert!(roof(CeilingKind::FmaF32, |c| c.last_level_cache = Some(LastLevelCache::NotSeen)).contains("no cache's"));
    let fraction = refusal_of(with_cache(), |record| {
        *record.cases[0].achieved.fractions.get_mut(&CeilingKind::CacheRead).unwrap() *= 3.0;
    });
    assert!(fraction.contains("CacheRead"), "{fraction}");
}

#[test]
fn what_tells_two_devices_of_one_name_apart_is_kept_and_absent_where_it_is_not_known() {
    let mut record = small();
    assert!(!serde_json::to_string(&record.device).unwrap().contains("memory"));
    record.device.subgroup_sizes_seen = vec![16, 32];
    record.device.memory_bytes = Some(12 << 30);
    record.device.memory_source = Some(MemorySource::DeviceHeap);
    record.device.pci_bus_id = Some("0000:01:00.0".to_owned());
    assert_eq!(parse(&serde_json::to_vec(&record).unwrap(), Path::new("a.json")).unwrap(), record);
    let validator = jsonschema::validator_for(&schema()).unwrap();
    assert!(validator.is_valid(&serde_json::to_value(record).unwrap()));
}

#[test]
fn memory_address_and_subgroups_that_cannot_be_are_refused() {
    assert!(refusal(|r| r.device.memory_bytes = Some(1)).contains("memory_source"));
    assert!(refusal(|r| r.device.memory_source = Some(MemorySource::HostMemory)).contains("memory_source"));
    assert!(refusal(|r| r.device.memory_bytes = Some(0)).contains("zero"));
    assert!(refusal(|r| r.device.pci_bus_id = Some(" ".to_owned())).contains("blank"));
    assert!(refusal(|r| r.device.pci_bus_id = Some("\u{1b}[2J".to_owned())).contains("control characters"));
    assert!(refusal(|r| r.device.subgroup_sizes_seen = vec![0]).contains("zero"));
    assert!(refusal(|r| r.device.subgroup_sizes_seen = vec![32, 32]).contains("not ascending"));
    assert!(refusal(|r| r.device.subgroup_sizes_seen = (1..100).collect()).contains("32 are the most"));
}

#[test]
fn impossible_values_of_what_version_2_added_are_refused() {
    fn case(edit: impl FnOnce(&mut Case)) -> String {
        refusal_of(tuned(), |record| edit(&mut record.cases[0]))
    }
    let tuning = |edit: fn(&mut Tuning)| case(|c| edit(c.tuning.as_mut().unwrap()));
    let reference = |edit: fn(&mut Reference)| refusal_of(tuned(), |r| edit(r.reference.as_mut().unwrap()));
    let lines = [
        case(|c| c.issued_flop = Some(c.work.flop * 0.5)),
        case(|c| c.operations = [(Operation::DotI8, c.work.flop * 2.0)].into()),
        case(|c| c.operations = [(Operation::F32, c.work.flop * 2.0), (Operation::F16, Flop::new(-1.0))].into()),
        case(|c| *c.achieved.fractions.values_mut().next().unwrap() = 40.0),
        case(|c| c.achieved.fractions = [(CeilingKind::MatrixF16, 0.5)].into()),
        tuning(|t| t.candidates[1].variant = "tiled".to_owned()),
        tuning(|t| t.candidates[0].variant = "\u{1b}[31m".to_owned()),
        tuning(|t| t.candidates[0].time_s = Some(Seconds::new(-1.0))),
        tuning(|t| t.candidates[1].reason = Some("x".repeat(5000))),
        tuning(|t| t.cost_s = Seconds::new(-1.0)),
        case(|c| c.parts[0].kernel = String::new()),
        case(|c| c.parts[0].launches = 0),
        case(|c| c.parts[0].ci95_s = [Seconds::new(2.0), Seconds::new(1.0)]),
        case(|c| c.parts = vec![c.parts[0].clone(); 1000]),
        reference(|r| r.threshold = 0.9),
        reference(|r| r.rounds = 0),
        reference(|r| r.readings[0].median_s = Seconds::new(-1.0)),
        refusal_of(tuned(), |r| r.protocol.selection = Selection::Named { variant: " ".to_owned() }),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_place_that_cannot_be_written_is_told_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("missing").join("a.json");
    assert!(matches!(save(&nowhere, &small()), Err(RecordError::Write { .. })));
    assert!(!nowhere.exists());
    let is_folder = write_atomically(folder.path(), b"x");
    assert!(matches!(is_folder, Err(RecordError::Write { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_the_device_file_survives() {
    use std::os::unix::fs::FileTypeExt;
    let full = Path::new("/dev/full");
    let error = save(full, &small()).unwrap_err();
    assert!(matches!(error, RecordError::Write { .. }), "{error}");
    assert!(fs::metadata(full).unwrap().file_type().is_char_device());
}

#[cfg(unix)]
#[test]
fn a_closed_folder_keeps_its_old_document() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    save(&path, &small()).unwrap();
    let before = fs::read(&path).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // Root writes anywhere, so there the save goes through and the content is the new one.
    let saved = save(&path, &whole());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(saved.is_err(), fs::read(&path).unwrap() == before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_document_is_readable_by_others_and_a_link_to_it_stays_a_link() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("a.json"), folder.path().join("latest.json"));
    fs::write(&file, "old").unwrap();
    symlink(&file, &link).unwrap();
    write_atomically(&link, b"new").unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read(&file).unwrap(), b"new");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o400, 0o400);
}

#[test]
fn a_journal_is_a_valid_document_after_every_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let full = whole();
    let mut bare = Record { planned: full.planned.clone(), ..fixture::bare("Example X1", &fixture::FAST) };
    bare.ceilings.clone_from(&full.ceilings);
    let mut journal = Journal::create(&path, bare.clone()).unwrap();
    assert_eq!(&load(&path).unwrap(), journal.record());
    for case in &full.cases {
        assert!(!journal.done(&case.id));
        journal.push_case(case.clone()).unwrap();
        assert!(journal.done(&case.id));
        assert_eq!(&load(&path).unwrap(), journal.record());
    }
    journal.finish().expect_err("two planned cases are missing");
    drop(journal);
    let mut journal = Journal::resume(&path, &bare).unwrap();
    assert!(full.cases.iter().all(|case| journal.done(&case.id)));
    journal.push_left_out(full.left_out[0].clone()).unwrap();
    journal.push_rejected(full.rejected[0].clone()).unwrap();
    journal.finish().unwrap();
    assert_eq!(load(&path).unwrap(), full);
}

#[test]
fn a_journal_that_cannot_write_a_case_does_not_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let mut journal = Journal::create(&path, fixture::bare("Example X1", &fixture::FAST)).unwrap();
    let mut wrong = whole().cases[0].clone();
    wrong.timing.median_s = Seconds::new(f64::NAN);
    assert!(matches!(journal.push_case(wrong.clone()), Err(RecordError::Unsound { .. })));
    assert!(!journal.done(&wrong.id));
    assert_eq!(&load(&path).unwrap(), journal.record());
}

#[test]
fn a_rejected_case_with_nan_and_a_driver_s_long_message_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let mut journal = Journal::create(&path, fixture::bare("Line one\nLine two\0", &fixture::FAST)).unwrap();
    let mut verification = whole().cases[0].verification.clone();
    verification.value = f64::NAN;
    let reason = format!("validation error:\n\t{}", "x".repeat(5000));
    journal.push_rejected(Rejected { id: "a/b".to_owned(), reason, verification: Some(verification) }).unwrap();
    journal.push_left_out(LeftOut { id: "a/c".to_owned(), reason: "no\r\nf16".to_owned() }).unwrap();
    let record = load(&path).unwrap();
    assert_eq!(record.device.name, "Line one Line two");
    assert!(record.rejected[0].reason.ends_with("(the comparison has no finite value)"));
    assert_eq!(record.left_out[0].reason, "no  f16");
}

#[test]
fn a_run_resumes_only_its_own_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let bare = fixture::bare("Example X1", &fixture::FAST);
    let told = |edit: &dyn Fn(&mut Record)| {
        Journal::create(&path, bare.clone()).unwrap();
        let mut expected = bare.clone();
        edit(&mut expected);
        let error = Journal::resume(&path, &expected).unwrap_err();
        assert!(matches!(error, ResumeError::Differs { .. }));
        error.to_string().replace(&path.display().to_string(), "a.json")
    };
    let lines = [
        told(&|r| r.device.name = "Other".to_owned()),
        told(&|r| r.device.driver_info = "600".to_owned()),
        told(&|r| r.device.features.clear()),
        told(&|r| r.tool.git_commit = None),
        told(&|r| r.protocol.seed = 7),
        told(&|r| r.protocol.rotation_bytes = 0),
        told(&|r| r.planned.push("gating/new".to_owned())),
    ];
    insta::assert_snapshot!(lines.join("\n"));
    let mut reworded = bare.clone();
    reworded.protocol.preset_reason = "chosen: 61 TFLOP/s".to_owned();
    Journal::resume(&path, &reworded).expect("the words on why a preset was chosen may change");
    assert!(matches!(Journal::resume(&folder.path().join("none"), &bare), Err(ResumeError::Record(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_saved_is_what_is_loaded(
        name in "[^\\p{C}\\p{Z}]{1,40}",
        seconds in 1e-9f64..1e3,
        spread in 0.0f64..0.5,
        seed in any::<u64>(),
        shape in proptest::collection::btree_map("[a-z_]{1,12}", any::<u64>(), 0..6),
    ) {
        let mut record = small();
        record.device.name = name;
        record.protocol.seed = seed;
        let case = &mut record.cases[0];
        case.shape = shape;
        case.timing = fixture::timing(seconds, spread);
        case.achieved.flop_per_s = case.work.flop / case.timing.median_s;
        case.achieved.bytes_per_s = case.bytes() / case.timing.median_s;
        case.achieved.fraction_of_roofline = case.achieved.roofline_s / case.timing.median_s;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        save(&path, &record).unwrap();
        prop_assert_eq!(load(&path).unwrap(), record);
    }

    #[test]
    fn a_damaged_byte_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = serde_json::to_vec(&small()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = parse(&bytes, Path::new("damaged.json"));
    }
}

/// As a browser would write it, with everything that version 5 added.
fn of_a_browser() -> Record {
    let mut record = small();
    record.host.browser = Some(Browser { name: "Chromium".to_owned(), version: "156.0.7000.1".to_owned() });
    record.device.backend = "browser_webgpu".to_owned();
    record.protocol.runtime_checks = RuntimeChecks::Browser;
    let [device_s, wall_s] = [100e-6, 5e-6].map(|step| Some(Seconds::new(step)));
    record.protocol.clock_steps = Some(ClockSteps { device_s, wall_s });
    let (clock, used) = (Clock::Device, Clock::Wall);
    record.caveats = vec![Caveat::CoarseClock { clock, step_s: 1e-3, used }];
    record.cases[0].caveats = vec![Caveat::HostPaused { seconds: 1.5 }, Caveat::ShortBatch { share: 0.05 }];
    record
}

#[test]
fn what_version_5_added_is_written_and_read() {
    let document = serde_json::to_value(of_a_browser()).unwrap();
    assert_eq!(document["protocol"]["runtime_checks"], "browser");
    assert_eq!(parse(document.to_string().as_bytes(), Path::new("a.json")).unwrap(), of_a_browser());
    assert!(jsonschema::validator_for(&schema()).unwrap().is_valid(&document));
    // A version before wrote flags, as a run outside of browsers still does.
    for (written, read) in [(false, RuntimeChecks::Off), (true, RuntimeChecks::On)] {
        let mut old = serde_json::to_value(small()).unwrap();
        assert_eq!(old["protocol"]["runtime_checks"], false);
        (old["schema_version"], old["protocol"]["runtime_checks"]) = (4.into(), written.into());
        let found = parse(old.to_string().as_bytes(), Path::new("old.json")).unwrap();
        assert_eq!((found.protocol.runtime_checks, found.host.browser, found.protocol.clock_steps), (read, None, None));
    }
}

#[test]
fn a_browser_that_cannot_be_is_refused() {
    let told = |edit: fn(&mut Record)| refusal_of(of_a_browser(), edit);
    assert!(told(|r| r.host.browser = None).contains("protocol.runtime_checks"));
    assert!(told(|r| r.protocol.runtime_checks = RuntimeChecks::Off).contains("protocol.runtime_checks"));
    assert!(told(|r| r.host.browser.as_mut().unwrap().name = " ".to_owned()).contains("host.browser.name"));
    assert!(
        told(|r| r.host.browser.as_mut().unwrap().version = "\u{1b}[31m".to_owned()).contains("host.browser.version")
    );
    let no_step =
        |r: &mut Record| r.protocol.clock_steps = Some(ClockSteps { device_s: None, wall_s: Some(Seconds::ZERO) });
    assert!(told(no_step).contains("protocol.clock_steps.wall_s"));
    let mut odd = serde_json::to_value(of_a_browser()).unwrap();
    odd["protocol"]["runtime_checks"] = "nobody".into();
    let line = self::told(odd.to_string().as_bytes());
    assert!(line.contains("true, false or \"browser\""), "{line}");
}

#[test]
fn what_is_measured_anew_does_not_keep_a_run_from_going_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let begun = Record { complete: false, ..of_a_browser() };
    save(&path, &begun).unwrap();
    let mut expected = begun.clone();
    expected.protocol.clock_steps = None;
    Journal::resume(&path, &expected).unwrap();
    expected.protocol.runtime_checks = RuntimeChecks::On;
    assert!(matches!(Journal::resume(&path, &expected), Err(ResumeError::Differs { .. })));
}
