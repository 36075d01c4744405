//! `supernode sweep` as a task of a job array of Slurm, whose variables are set by hand here, and `supernode sweep merge`.
//! tests/fleet/slurm.sh does the same under Slurm itself.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod sweep_place;

use std::fs;

use assert_cmd::Command;

use sweep_place::{Place, rows};

/// Points of three kinds, which differ in their columns: without experts, without a plan, and with a baseline.
const SPEC: &str = r#"
chips = 8
phase = "decode"
[[grid]]
model = "llama-3.1-8b"
plan.tp = [1, 2, 4]
workload.kv_len = [1024, 2048]
[[grid]]
model = "llama-3.1-405b"
plan.tp = 3
workload.kv_len = [1024, 2048]
[[grid]]
model = "qwen3-30b-a3b"
baseline = "roce-cluster"
plan.ep = [2, 4, 8]
"#;
const POINTS: usize = 11;

/// A task of an array of `count` tasks that begin at `least`.
fn task(place: &Place, id: u32, least: u32, count: u32, arguments: &[&str]) -> Command {
    let mut command = place.sweep(arguments);
    for (name, value) in [("ID", id), ("MIN", least), ("MAX", least + count - 1), ("COUNT", count), ("STEP", 1)] {
        command.env(format!("SLURM_ARRAY_TASK_{name}"), value.to_string());
    }
    command
}

fn stderr(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stderr.clone()).unwrap()
}

fn merge(place: &Place, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("supernode").unwrap();
    command.current_dir(place.path("")).args(["sweep", "merge"]).args(arguments);
    command
}

fn refusal(place: &Place, arguments: &[&str]) -> String {
    let output = merge(place, arguments).assert().code(2).stdout("").get_output().clone();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    error
}

/// The files of all tasks of an array.
fn array(place: &Place, output: &str, count: u32) -> Vec<String> {
    let (stem, extension) = output.split_once('.').unwrap();
    let compute = |id| {
        task(place, id, 1, count, &["-o", output]).assert().success();
        format!("{stem}-{id:03}-of-{count:03}.{extension}")
    };
    (1..=count).map(compute).collect()
}

fn with_output<'a>(parts: &'a [String], output: &'a str) -> Vec<&'a str> {
    parts.iter().map(String::as_str).chain(["-o", output]).collect()
}

#[test]
fn a_task_of_an_array_computes_its_shard_and_says_so() {
    let place = Place::new(SPEC);
    let words = stderr(&mut task(&place, 6, 5, 4, &["-o", "part.jsonl", "--shard", "2/4"]));
    assert!(!words.contains("job array") && place.path("part.jsonl").exists(), "a flag goes before: {words}");
    for (least, id) in [(1, 2), (0, 1)] {
        let words = stderr(&mut task(&place, id, least, 4, &["-o", "part.jsonl"]));
        assert!(
            words.contains("shard 2/4, as this is a task of a job array of Slurm, into part-002-of-004.jsonl"),
            "{words}"
        );
    }
    assert_eq!(
        fs::read(place.path("part-002-of-004.jsonl")).unwrap(),
        place.bytes(&["--shard", "2/4"]),
        "the rows are the shard's"
    );
    let printed = task(&place, 2, 1, 4, &[]).assert().success().get_output().stdout.clone();
    assert_eq!(printed, place.bytes(&["--shard", "2/4"]), "without a file the rows are printed");
    assert_eq!(rows(&printed).len(), 3);
    let error = place.line_of_error(&["-o", "part-002-of-004.jsonl", "--shard", "2/4"]);
    assert!(
        error.contains("exists: go on with --resume"),
        "outside of an array a file is not taken up unasked: {error}"
    );
}

#[test]
fn an_array_with_gaps_is_one_line() {
    let place = Place::new(SPEC);
    for (values, expected) in [
        (["1", "1", "7", "3"], "not contiguous: 3 of them from 1 to 7; submit --array=1-N, or give --shard i/n"),
        (["2", "0", "6", "4"], "not contiguous: 4 of them from 0 to 6"),
        (["3", "3", "3", "1"], "begin at 3, not at 0 or 1"),
        (["three", "1", "3", "3"], "SLURM_ARRAY_TASK_ID is `three`"),
    ] {
        let mut command = place.sweep(&["-o", "part.jsonl"]);
        for (name, value) in ["ID", "MIN", "MAX", "COUNT"].iter().zip(values) {
            command.env(format!("SLURM_ARRAY_TASK_{name}"), value);
        }
        let error = String::from_utf8(command.assert().code(2).get_output().stderr.clone()).unwrap();
        assert!(error.contains(expected) && error.trim_end().lines().count() == 1, "{error}");
    }
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 1, "nothing is written");
}

#[test]
fn a_finished_task_does_nothing_and_an_interrupted_one_goes_on_by_itself() {
    let outputs: &[&str] = if cfg!(feature = "parquet") {
        &["part.jsonl", "part.csv", "part.parquet"]
    } else {
        &["part.jsonl", "part.csv"]
    };
    for output in outputs {
        let place = Place::new(SPEC);
        let name = &array(&place, output, 2)[0];
        let finished = fs::read(place.path(name)).unwrap();
        let words = stderr(&mut task(&place, 1, 1, 2, &["-o", output]));
        assert!(words.contains(&format!("{name} has all 5 points already: nothing to do")), "{words}");
        assert_eq!(fs::read(place.path(name)).unwrap(), finished);
        // As a node that fails leaves it: some rows, the last of them torn.
        let rows = place.bytes(&["--shard", "1/2"]);
        let torn = &rows[..rows.len() / 2];
        if *output == "part.jsonl" {
            fs::write(place.path(name), torn).unwrap();
        } else {
            task(&place, 1, 1, 2, &["-o", "rows.jsonl"]).assert().success();
            fs::remove_file(place.path(name)).unwrap();
            let partial = format!("{name}.partial.jsonl");
            fs::rename(place.path("rows-001-of-002.jsonl.sweep.json"), place.path(&format!("{partial}.sweep.json")))
                .unwrap();
            fs::write(place.path(&partial), torn).unwrap();
        }
        let words = stderr(&mut task(&place, 1, 1, 2, &["-o", output]));
        assert!(words.contains("of 5 points are there already"), "{words}");
        assert_eq!(fs::read(place.path(name)).unwrap(), finished, "{output}");
        // A file that is not this sweep's is refused, and stays.
        fs::write(place.path("sweep.toml"), SPEC.replace("2048", "4096")).unwrap();
        let refused = task(&place, 1, 1, 2, &["-o", output]).assert().code(2).get_output().stderr.clone();
        assert!(String::from_utf8(refused).unwrap().contains(&format!("{name} has configuration")));
        assert_eq!(fs::read(place.path(name)).unwrap(), finished);
    }
}

#[test]
fn merged_shards_are_the_file_of_one_process() {
    for output in ["all.jsonl", "all.csv"] {
        let place = Place::new(SPEC);
        place.sweep(&["-o", &format!("single-{output}")]).assert().success();
        // Some shards have one kind of point, and so fewer columns; with 14 shards, some have none at all.
        for count in [2, 3, 14] {
            let mut parts = array(&place, &output.replace("all", "part"), count);
            parts.reverse();
            let merged = format!("{count}-{output}");
            let words = stderr(&mut merge(&place, &with_output(&parts, &merged)));
            assert!(words.contains(&format!("{merged}: {POINTS} points of {count} files")), "{words}");
            assert!(
                fs::read(place.path(&merged)).unwrap() == fs::read(place.path(&format!("single-{output}"))).unwrap(),
                "{merged}"
            );
            let words = stderr(&mut merge(&place, &with_output(&parts, &merged)));
            assert!(words.contains("has all 11 points already"), "{words}");
            // The whole is a sweep's file like any other.
            place.sweep(&["-o", &merged, "--resume"]).assert().success();
        }
    }
}

#[cfg(feature = "parquet")]
#[test]
fn merged_shards_in_parquet_are_the_rows_of_one_process() {
    use parquet::file::reader::{FileReader, SerializedFileReader};

    let read = |path: std::path::PathBuf| {
        let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
        let metadata = reader.metadata().file_metadata();
        let texts = metadata.key_value_metadata().unwrap();
        let said = texts.iter().find(|text| text.key == "supernode.sweep").unwrap().value.clone().unwrap();
        let columns: Vec<String> =
            metadata.schema_descr().columns().iter().map(|column| format!("{column:?}")).collect();
        let rows: Vec<String> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        (serde_json::from_str::<serde_json::Value>(&said).unwrap(), columns, rows)
    };
    let place = Place::new(SPEC);
    place.sweep(&["-o", "single.parquet"]).assert().success();
    let single = read(place.path("single.parquet"));
    assert_eq!(single.2.len(), POINTS);
    for count in [2, 3, 14] {
        let parts = array(&place, "part.parquet", count);
        let part = read(place.path(&parts[1])).0;
        assert_eq!((&part["shard"], &part["of_points"]), (&format!("2/{count}").into(), &11.into()));
        assert_eq!(part["configuration"], single.0["configuration"]);
        let merged = format!("all-{count}.parquet");
        merge(&place, &with_output(&parts, &merged)).assert().success();
        assert!(read(place.path(&merged)) == single, "{count} shards");
        place.sweep(&["-o", &merged, "--resume"]).assert().success();
    }
}

#[test]
fn parts_that_do_not_make_one_sweep_are_one_line() {
    let place = Place::new(SPEC);
    let parts = array(&place, "part.jsonl", 4);
    let names: Vec<&str> = parts.iter().map(String::as_str).collect();
    let [one, two, three, four] = *names else { unreachable!() };
    let missing = refusal(&place, &[one, three, "-o", "all.jsonl"]);
    assert!(missing.contains("points 2 to 4 and points 8 to 10 of 11 are in no file"), "{missing}");
    place.sweep(&["--shard", "1/2", "-o", "half.jsonl"]).assert().success();
    let overlap = refusal(&place, &["half.jsonl", two, three, four, "-o", "all.jsonl"]);
    assert!(overlap.contains("overlap: both have points 2 to 4; leave one out"), "{overlap}");
    assert!(overlap.contains("half.jsonl and part-002-of-004.jsonl"), "{overlap}");
    place.sweep(&["--shard", "2/4", "-o", "uniform.jsonl", "--expert-load", "uniform"]).assert().success();
    let other = refusal(&place, &[one, "uniform.jsonl", three, four, "-o", "all.jsonl"]);
    assert!(
        other.contains("uniform.jsonl is not of the sweep of part-001-of-004.jsonl: it has configuration"),
        "{other}"
    );
    place.sweep(&["--shard", "2/4", "-o", "two.csv"]).assert().success();
    let kinds = refusal(&place, &[one, "two.csv", three, four, "-o", "all.jsonl"]);
    assert!(kinds.contains("two.csv is CSV, and part-001-of-004.jsonl JSON Lines"), "{kinds}");
    let named = refusal(&place, &with_output(&parts, "all.csv"));
    assert!(named.contains("the parts are JSON Lines, and the name says CSV"), "{named}");
    let over = refusal(&place, &with_output(&parts, "sweep.toml"));
    assert!(over.contains("sweep.toml exists and is not what these parts make"), "{over}");
    let none = refusal(&place, &["sweep.toml", "-o", "all.jsonl"]);
    assert!(none.contains("without sweep.toml.sweep.json nobody knows"), "{none}");
    assert!(refusal(&place, &["gone.jsonl", "-o", "all.jsonl"]).contains("gone.jsonl: "));
    merge(&place, &[]).assert().code(2);
    assert!(!place.path("all.jsonl").exists() && !place.path("all.csv").exists());
}

#[test]
fn a_part_that_is_cut_off_or_changed_is_named_with_its_row() {
    let place = Place::new(SPEC);
    let parts = array(&place, "part.jsonl", 2);
    let rows = fs::read_to_string(place.path(&parts[1])).unwrap();
    for (text, expected) in [
        (rows[..rows.len() - 2].to_owned(), "ends after 5 of 6 points; go on with its shard by --resume"),
        (
            rows.lines().skip(1).fold(String::new(), |text, line| text + line + "\n"),
            "its row 1 is point 6, not point 5",
        ),
        (rows.clone() + &rows, "its row 7 is point 5"),
        (rows.replacen('{', "[", 1), "its row 1 is no point, not point 5"),
        (String::new(), "ends after 0 of 6 points"),
    ] {
        fs::write(place.path(&parts[1]), text).unwrap();
        let error = refusal(&place, &with_output(&parts, "all.jsonl"));
        assert!(error.contains(&parts[1]) && error.contains(expected), "{error}");
        assert!(!place.path("all.jsonl").exists());
    }
    for text in ["", "{}", "{\"configuration\":1}"] {
        fs::write(place.path(&format!("{}.sweep.json", parts[1])), text).unwrap();
        assert!(refusal(&place, &with_output(&parts, "all.jsonl")).contains("part-002-of-002.jsonl.sweep.json: "));
    }
}

#[cfg(feature = "parquet")]
#[test]
fn a_part_in_parquet_that_is_cut_off_or_of_another_kind_is_one_line() {
    let place = Place::new(SPEC);
    let parts = array(&place, "part.parquet", 2);
    let whole = fs::read(place.path(&parts[1])).unwrap();
    for length in [2, 4, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(place.path(&parts[1]), &whole[..length]).unwrap();
        let error = refusal(&place, &with_output(&parts, "all.parquet"));
        assert!(error.contains("part-002-of-002.parquet"), "{length}: {error}");
    }
    fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json"),
        place.path("mine.json"),
    )
    .unwrap();
    let export = ["export", "mine.json", "--format", "parquet", "-o", "cases.parquet"];
    Command::cargo_bin("supernode").unwrap().current_dir(place.path("")).args(export).assert().success();
    let error = refusal(&place, &["cases.parquet", "-o", "all.parquet"]);
    assert!(error.contains("cases.parquet: it does not say what sweep it is of"), "{error}");
}

#[test]
fn a_second_writer_of_one_shard_is_told_of_the_first() {
    let place = Place::new(SPEC);
    let lock = fs::File::create(place.path(".part-001-of-002.jsonl.lock")).unwrap();
    lock.lock().unwrap();
    let refused = task(&place, 1, 1, 2, &["-o", "part.jsonl"]).assert().code(2).get_output().stderr.clone();
    let refused = String::from_utf8(refused).unwrap();
    assert!(refused.contains("part-001-of-002.jsonl: another supernode is writing to it"), "{refused}");
}
