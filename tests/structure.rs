//! The structure of the sources, as ARCHITECTURE.md draws it: arrows between files point down and never in a circle, and
//! a public name has one meaning. Only the upper floors write to the terminal.
//!
//! The sources are read as text. What a path in a file names is looked up as the compiler would: `crate::`, `self::` and
//! `super::`, through the re-exports of facades. Comments, texts and tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The floors of the house, from the ground up. A file uses its own floor and those before it.
const FLOORS: [&str; 15] = [
    "printable",
    "units",
    "statistics",
    "ordering",
    "files",
    "specs",
    "operators",
    "kernels",
    "record",
    "measure",
    "fleet",
    "projection",
    "report",
    "cli",
    "main",
];

/// The floors that may write to the terminal.
const SPEAKERS: [&str; 3] = ["report", "cli", "main"];

/// Names that several public types share, each with the reason why that confuses nobody.
const SHARED_NAMES: [(&str, &str); 1] =
    [("Args", "what clap parses for one subcommand; always written with the subcommand's module")];

/// A path from the root of the crate, by its segments: `["kernels", "plan"]`.
type Segments = Vec<String>;

/// One source file without its comments, texts and tests.
struct Source {
    /// Relative to src/.
    file: String,
    text: String,
}

/// All files of src/ but tests, by module.
struct Crate {
    sources: BTreeMap<Segments, Source>,
    /// What a facade re-exports: (module, name) to the full path.
    exports: BTreeMap<(Segments, String), Segments>,
    /// Paths that each module names.
    paths: BTreeMap<Segments, Vec<Segments>>,
}

impl Crate {
    fn read(root: &Path) -> Self {
        let mut sources = BTreeMap::new();
        collect(root, root, &mut sources);
        let of_tests: BTreeSet<Segments> = sources.iter().flat_map(|(at, source)| test_modules(at, source)).collect();
        sources.retain(|at, _| !of_tests.iter().any(|test| at.starts_with(test)));
        let mut all = Self { sources, exports: BTreeMap::new(), paths: BTreeMap::new() };
        for (at, source) in &all.sources {
            let mut named = Vec::new();
            for (path, exported) in used(&source.text) {
                let Some(path) = all.absolute(at, &path) else { continue };
                if let (true, Some(name)) = (exported, path.last()) {
                    all.exports.insert((at.clone(), name.clone()), path.clone());
                }
                named.push(path);
            }
            all.paths.insert(at.clone(), named);
        }
        all
    }

    /// A path as seen from the root; `None` for other crates and for what is in scope already.
    fn absolute(&self, at: &Segments, path: &[String]) -> Option<Segments> {
        let (first, rest) = path.split_first()?;
        let is_child = || self.sources.contains_key(&[at.as_slice(), std::slice::from_ref(first)].concat());
        let (mut absolute, rest) = match first.as_str() {
            "crate" => (Segments::new(), rest),
            "self" | "super" => (at.clone(), path),
            _ if is_child() => (at.clone(), path),
            _ => return None,
        };
        for segment in rest {
            match segment.as_str() {
                "self" => {}
                "super" => {
                    absolute.pop()?;
                }
                _ => absolute.push(segment.clone()),
            }
        }
        Some(absolute)
    }

    /// The module whose file a path leads to, through re-exports.
    fn target(&self, path: &[String], hops: usize) -> Segments {
        let known = (0..=path.len()).rev().find(|length| self.sources.contains_key(&path[..*length]));
        let length = known.unwrap_or(0);
        let module = path[..length].to_vec();
        let Some(name) = path.get(length) else { return module };
        match self.exports.get(&(module.clone(), name.clone())) {
            Some(origin) if hops > 0 && origin != path => {
                self.target(&[origin.as_slice(), &path[length + 1..]].concat(), hops - 1)
            }
            _ => module,
        }
    }

    /// Which modules each one uses.
    fn arrows(&self) -> BTreeMap<&Segments, BTreeSet<Segments>> {
        let of = |(at, paths): (&_, &Vec<Segments>)| {
            let targets = paths.iter().map(|path| self.target(path, 8));
            targets.filter(|target| target != at && !target.is_empty()).collect::<BTreeSet<_>>()
        };
        self.paths.iter().filter(|(at, _)| !at.is_empty()).map(|(at, paths)| (at, of((at, paths)))).collect()
    }

    fn file(&self, at: &Segments) -> &str {
        &self.sources[at].file
    }
}

fn collect(root: &Path, folder: &Path, sources: &mut BTreeMap<Segments, Source>) {
    for entry in fs::read_dir(folder).expect("src/ is there") {
        let path = entry.expect("src/ can be listed").path();
        if path.is_dir() {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = path.strip_prefix(root).expect("found under src/").to_string_lossy().replace('\\', "/");
            let mut at: Segments = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            if at.last().is_some_and(|last| last == "mod" || (last == "lib" && at.len() == 1)) {
                at.pop();
            }
            let text = bare(&fs::read_to_string(&path).expect("a source is text"));
            sources.insert(at, Source { file, text });
        }
    }
}

/// A source without comments, texts and the tests at its foot.
fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['/', '"', '\'']) {
        bare.push_str(&rest[..at]);
        let from = &rest[at..];
        rest = if from.starts_with("//") {
            from.find('\n').map_or("", |end| &from[end..])
        } else if let Some(quoted) = from.strip_prefix('"') {
            let mut escaped = false;
            let end = quoted.char_indices().find(|(_, c)| {
                let ends = !escaped && *c == '"';
                escaped = !escaped && *c == '\\';
                ends
            });
            end.map_or("", |(end, _)| &quoted[end + 1..])
        } else if let Some(after) = from.strip_prefix("'\"'") {
            after
        } else {
            bare.push_str(&from[..1]);
            &from[1..]
        };
    }
    bare.push_str(rest);
    let tests = bare.find("#[cfg(test)]\nmod tests {").unwrap_or(bare.len());
    bare.truncate(tests);
    bare
}

/// Modules that are compiled for tests only.
fn test_modules(at: &Segments, source: &Source) -> Vec<Segments> {
    let mut found = Vec::new();
    let mut lines = source.text.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        let is_test = line == "#[cfg(test)]" || line.starts_with("#[cfg(all(test");
        let Some(name) = lines.peek().filter(|_| is_test).and_then(|next| module_name(next)) else { continue };
        found.push([at.as_slice(), &[name.to_owned()]].concat());
    }
    found
}

fn module_name(line: &str) -> Option<&str> {
    line.strip_suffix(';')?.split_once("mod ").map(|(_, name)| name)
}

/// Every path of a source: those of its imports, with whether they are exported, and those inside its code.
fn used(text: &str) -> Vec<(Segments, bool)> {
    let mut found = Vec::new();
    let mut code = String::new();
    for statement in text.split_inclusive(';') {
        let begin = import(statement);
        code.push_str(begin.map_or(statement, |(before, _, _)| before));
        if let Some((_, exported, tree)) = begin {
            expand(&[], tree.trim_end_matches(';'), &mut |path| found.push((path, exported)));
        }
    }
    for root in ["crate::", "self::", "super::"] {
        for (at, _) in code.match_indices(root) {
            let before = &code[..at];
            let is_start = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            // A visibility names a module without using it.
            if is_start && !before.ends_with("pub(in ") {
                let end = code[at..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
                let path = &code[at..end.map_or(code.len(), |end| at + end)];
                let segments = path.split("::").filter(|segment| !segment.is_empty());
                found.push((segments.map(str::to_owned).collect(), false));
            }
        }
    }
    found
}

/// Of a statement that ends in an import: what is before it, whether it is exported, and its tree.
fn import(statement: &str) -> Option<(&str, bool, &str)> {
    let at = statement.rfind("use ")?;
    let before = &statement[..at];
    let line = before.rsplit('\n').next().unwrap_or(before).trim();
    let exported = line.starts_with("pub");
    (line.is_empty() || exported).then(|| (before, exported, &statement[at + 4..]))
}

/// The paths of an import's tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(prefix: &[String], tree: &str, take: &mut dyn FnMut(Segments)) {
    let (head, branches) = match tree.find('{') {
        Some(open) => (&tree[..open], tree[open + 1..].rsplit_once('}').map(|(inside, _)| inside)),
        None => (tree, None),
    };
    let head = head.split(" as ").next().unwrap_or(head);
    let segments = head.split("::").map(str::trim).filter(|segment| !segment.is_empty()).map(str::to_owned);
    let path: Segments = prefix.iter().cloned().chain(segments).collect();
    let Some(branches) = branches else { return take(path) };
    let (mut depth, mut from) = (0, 0);
    for (at, c) in branches.char_indices().chain([(branches.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let branch = branches[from..at].trim();
                if !branch.is_empty() {
                    expand(&path, branch, take);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// Groups of modules that all use each other, directly or not (Tarjan's strongly connected components).
fn circles<'a>(arrows: &'a BTreeMap<&'a Segments, BTreeSet<Segments>>) -> Vec<Vec<&'a Segments>> {
    let reach = |from: &'a Segments| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(at) = open.pop() {
            for next in arrows.get(at).into_iter().flatten() {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&Segments, BTreeSet<&Segments>> = arrows.keys().map(|at| (*at, reach(at))).collect();
    let mut left: BTreeSet<&Segments> = reached.keys().copied().filter(|at| reached[at].contains(at)).collect();
    let mut found = Vec::new();
    while let Some(first) = left.first().copied() {
        let circle: Vec<&Segments> =
            left.iter().copied().filter(|at| reached[first].contains(at) && reached[*at].contains(first)).collect();
        left.retain(|at| !circle.contains(at));
        found.push(circle);
    }
    found
}

fn this_crate() -> Crate {
    let all = Crate::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    assert!(all.sources.len() > 100, "only {} sources were found", all.sources.len());
    all
}

#[test]
fn one_file_alone_imports_mpi() {
    let all = Crate::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    let imports = |source: &&Source| source.text.contains("use mpi::") || source.text.contains(" mpi::");
    let found: Vec<&str> = all.sources.values().filter(imports).map(|source| source.file.as_str()).collect();
    assert_eq!(found, ["fleet/mpi.rs"]);
}

#[test]
fn arrows_between_floors_only_point_down() {
    let all = this_crate();
    let floor = |at: &Segments| {
        let found = FLOORS.iter().position(|floor| *floor == at[0]);
        found.unwrap_or_else(|| panic!("{} is on no floor: add it to FLOORS", all.file(at)))
    };
    let mut up = String::new();
    let mut count = 0;
    for (at, targets) in all.arrows() {
        for target in targets {
            count += 1;
            if floor(&target) > floor(at) {
                let _ = writeln!(up, "{} uses {}", all.file(at), all.file(&target));
            }
        }
    }
    assert!(up.is_empty(), "these arrows point up:\n{up}");
    println!("{} files, {count} arrows, none of them up", all.sources.len());
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let all = this_crate();
    let arrows = all.arrows();
    let mut text = String::new();
    for circle in circles(&arrows) {
        let _ = writeln!(text, "a circle of {}:", circle.len());
        for at in &circle {
            let within = arrows[*at].iter().filter(|target| circle.contains(target)).map(|target| all.file(target));
            let _ = writeln!(text, "  {} uses {}", all.file(at), within.collect::<Vec<_>>().join(", "));
        }
    }
    assert!(text.is_empty(), "{text}");
    println!("{} files, no circle", all.sources.len());
}

#[test]
fn a_public_type_has_a_name_of_its_own() {
    let all = this_crate();
    let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for source in all.sources.values() {
        for line in source.text.lines().map(str::trim_start).filter(|line| line.starts_with("pub")) {
            if let Some(name) = type_name(line) {
                names.entry(name).or_default().push(&source.file);
            }
        }
    }
    assert!(names.len() > 200, "only {} types were found", names.len());
    let several = |(name, files): &(&String, &Vec<&str>)| {
        files.len() > 1 && !SHARED_NAMES.iter().any(|(shared, _)| shared == name)
    };
    let shared: Vec<String> =
        names.iter().filter(several).map(|(name, files)| format!("{name}: {}", files.join(", "))).collect();
    assert!(shared.is_empty(), "one name, several types:\n{}", shared.join("\n"));
    for (name, _) in SHARED_NAMES {
        assert!(names.get(name).is_some_and(|files| files.len() > 1), "{name} is no exception any more");
    }
    println!("{} public types, {} shared names with a reason", names.len(), SHARED_NAMES.len());
}

#[test]
fn only_report_cli_and_main_write_to_the_terminal() {
    let all = this_crate();
    let ways = ["println!(", "print!(", "eprintln!(", "eprint!(", "stdout()", "stderr()", "dbg!("];
    let elsewhere = all.sources.iter().filter(|(at, _)| at.first().is_some_and(|floor| !SPEAKERS.contains(&&**floor)));
    let found: Vec<String> = elsewhere
        .flat_map(|(_, source)| ways.iter().filter(|way| source.text.contains(**way)).map(|way| (&source.file, way)))
        .map(|(file, way)| format!("{file}: {way}"))
        .collect();
    assert!(found.is_empty(), "these write to the terminal:\n{}", found.join("\n"));
}

/// The name that a line declares: `pub(super) struct Name<T> {` is `Name`.
fn type_name(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| matches!(*word, "struct" | "enum" | "trait" | "type" | "union"))?;
    let name: String = words.get(at + 1)?.chars().take_while(|c| c.is_alphanumeric()).collect();
    // A macro's `$name` is none.
    (at <= 2 && !name.is_empty()).then_some(name)
}

/// A crate of these files.
fn made(files: &[(&str, &str)]) -> Crate {
    let folder = tempfile::tempdir().expect("a folder for the files");
    for (file, text) in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder for the file");
        fs::write(path, text).expect("a file");
    }
    Crate::read(folder.path())
}

#[test]
fn an_arrow_is_seen_through_facades_trees_and_paths_in_code() {
    let all = made(&[
        ("lib.rs", "mod a; mod b;"),
        ("a/mod.rs", "mod deep;\npub use deep::{Inner, Other as Renamed};"),
        ("a/deep.rs", "// use crate::b::Commented;\npub struct Inner;\nconst TEXT: &str = \"use crate::b::Quoted;\";"),
        (
            "b.rs",
            "use crate::{a::Inner};\nfn f() { let _ = crate::c::g(); }\n#[cfg(test)]\nmod tests { use crate::d::X; }",
        ),
        ("c.rs", "pub fn g() {}"),
        ("d.rs", "pub struct X;"),
    ]);
    let arrows = all.arrows();
    let of = |name: &str| -> Vec<&str> { arrows[&vec![name.to_owned()]].iter().map(|at| all.file(at)).collect() };
    assert_eq!(of("b"), ["a/deep.rs", "c.rs"]);
    assert_eq!(of("a"), ["a/deep.rs"]);
    assert!(arrows[&vec!["a".to_owned(), "deep".to_owned()]].is_empty());
    assert_eq!(circles(&arrows).len(), 0);
}

#[test]
fn a_circle_over_three_files_is_seen() {
    let all = made(&[
        ("a.rs", "use super::b::B;"),
        ("b.rs", "use crate::c::{\n    C,\n};"),
        ("c.rs", "fn f() -> self::super::a::A {}"),
        ("d.rs", "use crate::a;"),
    ]);
    let arrows = all.arrows();
    let files: Vec<Vec<&str>> =
        circles(&arrows).iter().map(|circle| circle.iter().map(|at| all.file(at)).collect()).collect();
    assert_eq!(files, [["a.rs", "b.rs", "c.rs"]]);
}

#[test]
fn a_type_is_found_whatever_its_visibility() {
    let names = ["pub struct A;", "pub(super) enum B {", "pub(in crate::a) trait C: D {", "pub fn struct_like() {}"];
    let found = names.map(type_name);
    assert_eq!(found[..2], [Some("A".to_owned()), Some("B".to_owned())]);
    assert_eq!(found[3], None);
}
