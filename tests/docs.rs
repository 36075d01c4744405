//! The documents: every command that README.md and docs/ tell people to run is run here, or, where it takes a GPU, minutes or
//! the network, compared with the flags that exist. Links and the names in ARCHITECTURE.md lead to something.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[cfg(feature = "parquet")]
mod operator_tables;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use supernode_bench::cli::Cli;
use supernode_bench::record::{self, FleetRecord, RankFiles, RankNote};

/// The most bytes of the README: a reader finishes it in five minutes.
const README_BYTES: usize = 9_000;
/// The most bytes of its picture.
const PICTURE_BYTES: usize = 200_000;

/// Commands that measure, on a device, for minutes, and one that serves until it is stopped. Their flags are parsed and they
/// are not run.
const ENDLESS: [&str; 5] = ["run", "measure", "verify", "devices", "web"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let mut documents = vec![root().join("README.md")];
    documents.extend(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    documents.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    documents.sort();
    documents
}

/// The lines of fenced and of indented blocks, without comments. A fence marked `text` holds output, and what one marked
/// `python` holds is run by tests/fleet/slurm.sh.
fn commands(document: &Path) -> Vec<String> {
    let text = fs::read_to_string(document).unwrap();
    let (mut fenced, mut is_output, mut after_blank, mut indented) = (false, false, true, false);
    let mut commands = Vec::new();
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fenced = !fenced;
            is_output = fenced && ["text", "python"].contains(&language);
            continue;
        }
        if is_output {
            continue;
        }
        // An indented block begins after a blank line, or it would go on a paragraph or a list.
        indented = line.starts_with("    ") && (indented || after_blank);
        after_blank = line.trim().is_empty();
        if fenced || indented {
            let command = line.split(" #").next().unwrap_or_default().trim();
            if !command.is_empty() && !command.starts_with('#') {
                commands.push(command.to_owned());
            }
        }
    }
    commands
}

/// What a reader has at hand: the repository's facts and results, and some documents of their own.
fn desk() -> tempfile::TempDir {
    let desk = tempfile::tempdir().unwrap();
    let at = |name: &str| desk.path().join(name);
    for folder in ["results", "specs/models", "specs/chips", "specs/fabrics", "specs/sweeps"] {
        fs::create_dir_all(at(folder)).unwrap();
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, at(folder).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    let record = root().join("results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json");
    for name in ["mine.json", "again.json", "before.json", "after.json", "main.json", "branch.json"] {
        fs::copy(&record, at(name)).unwrap();
    }
    fleets(desk.path());
    fs::copy(root().join("tests/data/llama-bench.json"), at("lb.json")).unwrap();
    fs::copy(root().join("tests/data/fleet.json"), at("fleet.json")).unwrap();
    fs::copy(root().join("tests/data/nccl-all-reduce.txt"), at("run.txt")).unwrap();
    fs::copy(root().join("tests/data/silicon-excerpt.csv"), at("silicon.csv")).unwrap();
    #[cfg(feature = "parquet")]
    operator_tables::tables(&at("aiconfigurator_core/systems/data"));
    desk
}

/// A fleet document, another of other computers, and what the ranks of the first left.
fn fleets(desk: &Path) {
    let fleet = record::load_fleet(&root().join("tests/data/fleet.json")).unwrap();
    record::save_fleet(&desk.join("fleet.json"), &fleet).unwrap();
    let mut other = fleet.clone();
    other.hosts.iter_mut().for_each(|host| host.name.push_str("-b"));
    record::save_fleet(&desk.join("other.json"), &other).unwrap();
    let folder = RankFiles::folder(&desk.join("fleet.json"));
    fs::create_dir(&folder).unwrap();
    let FleetRecord { created_at, tool, plan, hosts, ranks, fleet_schema_version, .. } = fleet;
    for rank in ranks {
        let files = RankFiles::of(&folder, rank.rank);
        let host = hosts[rank.host as usize].clone();
        let (created_at, tool, plan) = (created_at.clone(), tool.clone(), plan.clone());
        let (rank, local_rank, record) = (rank.rank, rank.local_rank, rank.record.unwrap());
        let capacity = None;
        let note = RankNote { fleet_schema_version, created_at, tool, plan, capacity, rank, local_rank, host };
        fs::write(&files.note, serde_json::to_vec(&note).unwrap()).unwrap();
        record::save(&files.record, &record).unwrap();
    }
}

fn run(command: &str, desk: &Path) {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_supernode"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(desk).env("PATH", path).env("HOME", desk);
    let output = shell.output().unwrap();
    // Whether this machine has a GPU is doctor's answer, and no matter of the document.
    let allowed = if command.starts_with("supernode doctor") { 1 } else { 0 };
    let code = output.status.code().unwrap();
    assert!(code <= allowed, "{command}: exit code {code}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a command or holds it against what exists. Returns whether it was run.
fn check(command: &str, desk: &Path) -> bool {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["supernode", name, ..] if ENDLESS.contains(name) => {
            #[cfg(feature = "gpu")]
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{command}: {error}");
            }
            false
        }
        ["supernode", ..] if cfg!(not(feature = "parquet")) && command.contains(".parquet") => false,
        ["supernode", ..] => {
            // What is behind a pipe may not be installed.
            run(command.split('|').next().unwrap_or_default(), desk);
            true
        }
        ["cp", ..] => {
            run(command, desk);
            true
        }
        ["make", target] => {
            let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
            assert!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "{command}: no such target");
            false
        }
        ["cargo", arguments @ ..] => {
            cargo(command, arguments);
            false
        }
        ["git", "add", path] => {
            assert!(desk.join(path).exists(), "{command}: the line before should have made it");
            false
        }
        ["export", _] | ["git", "clone", ..] | ["cd", ..] => false,
        ["apt", "install", packages @ ..] => {
            let installed = fs::read_to_string(root().join("tests/fleet/run.sh")).unwrap();
            assert!(
                packages.iter().all(|package| installed.contains(package)),
                "{command}: `make fleet-test` installs it"
            );
            false
        }
        // Run by tests/fleet/slurm.sh, under Slurm and GNU parallel.
        ["sbatch" | "job=$(sbatch", rest @ ..] => {
            let script = rest.iter().map(|word| word.trim_end_matches(')')).find(|word| word.ends_with(".sbatch"));
            assert!(script.is_some_and(|script| root().join(script).exists()), "{command}: no such script");
            false
        }
        ["parallel", inner @ .., ":::", "1", "2", "3", "4"] => {
            let first = inner.join(" ").replace("{}", "1");
            parses(command, &first.split_whitespace().collect::<Vec<_>>());
            false
        }
        // Where the build has MPI, the flags are parsed as well; without it they are passed over.
        ["mpirun" | "srun", ..] => {
            let own = words.iter().position(|word| *word == "supernode").unwrap();
            parses(command, &words[own..]);
            false
        }
        _ => panic!("`{command}` is neither run nor checked: teach this test, or take it out of the document"),
    }
}

/// The program takes these words.
fn parses(command: &str, words: &[&str]) {
    if let Err(error) = Cli::try_parse_from(words) {
        panic!("{command}: {error}");
    }
}

/// Targets and features that a cargo command names exist.
fn cargo(command: &str, arguments: &[&str]) {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let is_section = |kind: &str, name: &str| manifest.contains(&format!("[[{kind}]]\nname = \"{name}\""));
    for pair in arguments.windows(2) {
        match pair {
            ["--bench", name] => assert!(is_section("bench", name), "{command}"),
            ["--test", name] => assert!(root().join(format!("tests/{name}.rs")).exists(), "{command}"),
            ["--features", name] => assert!(manifest.contains(&format!("\n{name} = [")), "{command}"),
            _ => {}
        }
    }
    let known = ["bench", "build", "install", "test", "run", "doc"];
    assert!(arguments.first().is_some_and(|name| known.contains(name)), "{command}");
}

#[test]
fn every_command_of_readme_and_guides_works_or_exists() {
    let mut run = 0;
    for document in documents() {
        let desk = desk();
        run += commands(&document).iter().filter(|command| check(command, desk.path())).count();
    }
    assert!(run >= 35, "only {run} commands were run");
}

#[test]
fn the_readme_and_its_picture_are_small() {
    let readme = fs::read(root().join("README.md")).unwrap();
    assert!(readme.len() <= README_BYTES, "README.md has {} bytes", readme.len());
    let picture = fs::read(root().join("docs/page.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG"), "docs/page.png: make picture");
    assert!(picture.len() <= PICTURE_BYTES, "docs/page.png has {} bytes", picture.len());
}

/// The targets of a document's links that are files of this repository.
fn local_links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(|target| target.split('#').next().unwrap_or_default())
}

#[test]
fn every_link_leads_to_a_file() {
    let mut documents = documents();
    documents
        .extend(["ARCHITECTURE.md", "CHANGELOG.md", "peers/README.md", "fuzz/README.md"].map(|name| root().join(name)));
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for link in local_links(&text) {
            assert!(document.parent().unwrap().join(link).exists(), "{}: {link}", document.display());
        }
    }
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What ARCHITECTURE.md names and what does not exist: in the code map, files and folders relative to the heading; among the
/// invariants, tests of the file named last; elsewhere, paths.
fn missing(map: &str) -> Vec<String> {
    // A module is a file or a folder.
    let exists = |path: &str| root().join(path).exists() || root().join(format!("{path}.rs")).exists();
    let mut missing = Vec::new();
    let (before, rest) = map.split_once("\n## Code map").unwrap();
    let (code_map, rest) = rest.split_once("\n## Invariants").unwrap();
    let (invariants, after) = rest.split_once("\n## ").unwrap();
    let paths = quoted(before).chain(quoted(after)).filter(|word| word.contains('/'));
    missing.extend(paths.filter(|path| !exists(path)).map(str::to_owned));
    let mut folder = "";
    for line in code_map.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            folder = heading.trim_matches('`');
        } else if let Some(entry) = line.strip_prefix("- ") {
            let names = quoted(entry.split(':').next().unwrap_or_default());
            let paths = names.map(|name| format!("{folder}/{name}"));
            missing.extend(paths.filter(|path| !exists(path)));
        }
    }
    let mut file = String::new();
    let mut text = String::new();
    for word in quoted(invariants) {
        if word.contains('/') {
            file = word.to_owned();
            text = fs::read_to_string(root().join(word)).unwrap_or_default();
            if text.is_empty() {
                missing.push(file.clone());
            }
        } else if word.matches('_').count() >= 3 && !text.contains(&format!("fn {word}(")) {
            missing.push(format!("{file}: {word}"));
        }
    }
    missing
}

#[test]
fn the_map_names_files_and_tests_that_exist() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let missing = missing(&map);
    assert!(missing.is_empty(), "ARCHITECTURE.md names what does not exist:\n{}", missing.join("\n"));
    assert_eq!(self::missing(&map.replace("compile.rs", "brew.rs")), ["src/measure/brew.rs"]);
    let wrong = map.replace("one_wrong_element_fails_every_case", "one_wrong_element_is_fine");
    assert_eq!(self::missing(&wrong), ["tests/gpu.rs: one_wrong_element_is_fine"]);
}

#[test]
fn every_example_in_a_help_text_parses() {
    use clap::CommandFactory;
    let root = Cli::command();
    let mut checked = 0;
    let texts = std::iter::once(&root).chain(root.get_subcommands()).filter_map(|command| command.get_after_help());
    for text in texts.map(ToString::to_string).collect::<Vec<_>>() {
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("supernode ")) {
            // Words that explain stand behind several blanks; a pipe or a redirection is the shell's.
            let line = line.split("   ").next().unwrap_or_default();
            let line = line.split(['|', '>']).next().unwrap_or_default();
            // What a job array sets.
            let line = line.replace("$TASK", "7");
            let words = std::iter::once("supernode").chain(line.split_whitespace());
            if cfg!(not(feature = "gpu")) && ENDLESS.iter().any(|name| line.starts_with(name)) {
                continue;
            }
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("supernode {line}: {error}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 20, "only {checked} examples were found");
}

#[test]
fn the_check_tells_a_wrong_command() {
    let desk = desk();
    for wrong in [
        "supernode compare missing.json results",
        "supernode project --no-such-flag",
        "make coffee",
        "cargo bench --bench missing",
        "rm -rf results",
    ] {
        let outcome = std::panic::catch_unwind(|| check(wrong, desk.path()));
        assert!(outcome.is_err(), "{wrong}");
    }
}
