//! Criterion over `supernode compare` of 50 records with 500 cases each: from files to the table.

use std::path::{Path, PathBuf};

use criterion::{Criterion, criterion_group, criterion_main};
use supernode_bench::record::{self, Record};
use supernode_bench::report::compare;
use supernode_bench::units::Seconds;

const RECORDS: usize = 50;
const CASES: usize = 500;

/// The committed record with its cases repeated at other sizes, all times multiplied by `factor`.
fn record(factor: f64) -> Record {
    let path = Path::new("results/mesa-llvmpipe-llvm-15-0-6-256-bits-vulkan.json");
    let mut record = record::load(path).expect("the committed record is sound");
    let cases = std::mem::take(&mut record.cases);
    for (round, case) in cases.iter().cycle().take(CASES).enumerate() {
        let mut case = case.clone();
        let size = (round / cases.len()) as u64;
        case.id = format!("{},round={size}", case.id);
        case.shape.insert("round".to_owned(), size);
        let timing = &mut case.timing;
        let times = [&mut timing.median_s, &mut timing.mad_s, &mut timing.wall_median_s];
        for time in times.into_iter().chain(&mut timing.ci95_s).chain(&mut timing.samples_s) {
            *time = Seconds::new(time.get() * factor);
        }
        case.achieved.flop_per_s = case.work.flop / case.timing.median_s;
        case.achieved.bytes_per_s = case.bytes() / case.timing.median_s;
        case.achieved.fraction_of_roofline = case.achieved.roofline_s / case.timing.median_s;
        record.cases.push(case);
    }
    record.planned = record.cases.iter().map(|case| case.id.clone()).collect();
    record
}

fn corpus(folder: &Path) -> Vec<PathBuf> {
    let write = |i: usize| {
        let path = folder.join(format!("{i:02}.json"));
        record::save(&path, &record(1.0 + i as f64 / 100.0)).expect("a temporary file can be written");
        path
    };
    (0..RECORDS).map(write).collect()
}

fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = corpus(folder.path());
    // To time the whole command on the same files: SUPERNODE_KEEP_CORPUS=1, then `supernode compare FOLDER`.
    let kept = std::env::var_os("SUPERNODE_KEEP_CORPUS").is_some();
    let records: Vec<(String, Record)> =
        files.iter().map(|path| (path.display().to_string(), record::load(path).expect("just written"))).collect();
    let named: Vec<(&str, &Record)> = records.iter().map(|(name, record)| (&**name, record)).collect();
    let mut group = criterion.benchmark_group("compare 50 records of 500 cases");
    group.sample_size(10);
    group.bench_function("load, one thread", |bench| {
        bench.iter(|| files.iter().map(|path| record::load(path).expect("just written").cases.len()).sum::<usize>());
    });
    group.bench_function("compare", |bench| bench.iter(|| compare::compare(named[0], &named[1..])));
    let comparison = compare::compare(named[0], &named[1..]);
    group.bench_function("table", |bench| bench.iter(|| compare::text(&comparison).len()));
    group.bench_function("html", |bench| bench.iter(|| compare::html(&comparison).len()));
    group.finish();
    if kept {
        println!("corpus kept in {}", folder.keep().display());
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
