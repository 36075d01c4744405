//! Criterion over device time: one function for the three families.

use std::process::exit;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use supernode_bench::kernels::Family;
use supernode_bench::measure::criterion::{Bench, BenchError};

pub(crate) fn run(criterion: &mut Criterion, family: Family) {
    if let Err(error) = try_run(criterion, family) {
        eprintln!("error: {error}");
        exit(2);
    }
}

fn try_run(criterion: &mut Criterion, family: Family) -> Result<(), BenchError> {
    let bench = Bench::open(family)?;
    println!("device: {}", bench.device_name());
    let mut group = criterion.benchmark_group(family.to_string());
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    for spec in bench.specs() {
        let id = spec.id();
        let name = id.strip_prefix(&format!("{family}/")).unwrap_or(&id);
        let mut case = bench.case(spec)?;
        // One "element" is one FLOP, so criterion's Gelem/s reads GFLOP/s; a kernel without arithmetic counts bytes.
        group.throughput(match count(case.work.flop.get()) {
            0 => Throughput::BytesDecimal(count(case.work.bytes().get())),
            flop => Throughput::Elements(flop),
        });
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|runs| {
                case.time(runs).unwrap_or_else(|error| {
                    eprintln!("error: {name}: {error}");
                    exit(2)
                })
            });
        });
    }
    group.finish();
    Ok(())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "work is a count far below 2^63")]
fn count(work: f64) -> u64 {
    work as u64
}
