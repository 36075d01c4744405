//! `supernode measure` as a process that is killed: what was finished stays, and `--resume` completes the document.
#![cfg(feature = "gpu")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use supernode_bench::record::{Case, load};

/// Cheap cases, more of them than the kills can outlast.
const ONLY: [&str; 3] = ["gating", "expert_matmul/combine", "layer/moe_layer/best/f32/qwen3-30b-a3b/decode"];
const KILLS: u64 = 10;

fn measure(path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supernode"));
    command.args(["measure", "--preset", "smoke", "--resume", "-o"]).arg(path);
    command.args(ONLY.iter().flat_map(|part| ["--only", part]));
    // Trials are kept beside the document, not in the home of whoever runs the tests.
    command.env("XDG_CACHE_HOME", path.with_extension("cache"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Reads what the process says until `most` cases are finished; gives their ids.
fn finished(child: &mut Child, most: u64) -> Vec<String> {
    let mut ids = Vec::new();
    let lines = BufReader::new(child.stderr.as_mut().expect("standard error is a pipe")).lines();
    for line in lines.map_while(Result::ok) {
        // The first lines tell of the device and of what was planned.
        if let Some(id) = line.strip_prefix("case ").and_then(|rest| rest.split(' ').next()) {
            ids.push(id.to_owned());
        }
        if ids.len() as u64 >= most && (most > 0 || line.starts_with("preset ")) {
            break;
        }
    }
    ids
}

/// Cases of the document by id; none where it does not exist yet.
fn stored(path: &Path) -> BTreeMap<String, Case> {
    if !path.exists() {
        return BTreeMap::new();
    }
    let record = load(path).unwrap_or_else(|error| panic!("a killed run left a broken document: {error}"));
    record.cases.into_iter().map(|case| (case.id.clone(), case)).collect()
}

#[test]
fn ten_kills_lose_no_finished_case_and_a_resumed_run_completes_the_document() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record.json");
    let mut before = BTreeMap::new();
    for kill in 0..KILLS {
        let mut child = measure(&path).spawn().expect("the program starts");
        // Moments spread over start-up, between cases and inside them.
        let told = finished(&mut child, kill % 2);
        std::thread::sleep(Duration::from_millis(kill * 7919 % 300));
        child.kill().expect("SIGKILL");
        child.wait().expect("the process ends");
        let after = stored(&path);
        for id in &told {
            assert!(after.contains_key(id), "kill {kill}: {id} was told as finished and is not in the document");
        }
        for (id, case) in &before {
            assert_eq!(after.get(id), Some(case), "kill {kill} lost or changed {id}");
        }
        before = after;
    }
    let record = load(&path).expect("a document");
    assert!(!record.complete, "the kills came too late to interrupt anything");
    let output = measure(&path).output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let record = load(&path).expect("a document");
    assert!(record.complete);
    let after = stored(&path);
    assert!(before.iter().all(|(id, case)| after.get(id) == Some(case)), "the last run measured a case again");
    // A roof that the device does not have is left out too, and is no planned case.
    let left_out = record.left_out.iter().filter(|case| record.planned.contains(&case.id)).count();
    assert_eq!(after.len() + left_out + record.rejected.len(), record.planned.len());
    let layer = record.cases.iter().find(|case| case.kernel == "moe_layer").expect("a whole layer");
    assert_eq!(layer.parts.len(), 6);
    let routes = |case: &&Case| ["sort", "moe_layer"].contains(&&*case.kernel) || case.kernel.contains("topk");
    let routed: Vec<&Case> = record.cases.iter().filter(routes).collect();
    assert!(
        routed.len() >= 9 && routed.iter().all(|case| !case.tokens_per_expert.is_empty()),
        "the reader checks sums"
    );
    assert!(record.routing(Some(256)).is_some_and(|case| case.kernel == "sigmoid_group_topk"));
    assert!(layer.tuning.is_some() && record.reference.is_some_and(|reference| reference.readings.len() >= 3));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_130_and_keeps_what_is_finished() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record.json");
    let mut child = measure(&path).spawn().expect("the program starts");
    let told = finished(&mut child, 1);
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    // Its last words go to a pipe that must be read, or it would wait.
    let words: Vec<String> =
        BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(
        words.last().map(String::as_str),
        Some("error: interrupted; finished cases are kept, go on with --resume")
    );
    assert!(told.iter().all(|id| stored(&path).contains_key(id)));
}

#[test]
fn a_second_copy_on_the_same_document_says_so_and_leaves_the_first_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record.json");
    let mut first = measure(&path).spawn().expect("the program starts");
    finished(&mut first, 1);
    let second = measure(&path).output().expect("the program starts");
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2), "{words}");
    assert!(words.contains(&format!("another supernode (process {}) is writing to it", first.id())), "{words}");
    assert_eq!(words.lines().filter(|line| line.starts_with("error: ")).count(), 1);
    first.kill().expect("SIGKILL");
    first.wait().expect("it ends");
    assert!(!stored(&path).is_empty(), "what the first had finished is there");
    // The lock of a process that was killed holds nobody up: the resumed runs of the other tests start after a kill too.
    let mut third = measure(&path).spawn().expect("the program starts");
    let told = finished(&mut third, 1);
    third.kill().expect("SIGKILL");
    third.wait().expect("it ends");
    assert!(!told.is_empty());
}

/// Linux' `/dev/full` stands in for the disk. What was finished before a disk fills up is in `journal.rs`'s care.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_line_and_exit_code_2() {
    let output = Command::new(env!("CARGO_BIN_EXE_supernode"))
        .args(["measure", "--preset", "smoke", "--no-tune", "--only", "gating", "-o", "/dev/full"])
        .output()
        .expect("the program starts");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{words}");
    let last = words.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: /dev/full: cannot be written"), "{words}");
}
