//! The expert_matmul family, on device time.

mod device;

use criterion::{Criterion, criterion_group, criterion_main};
use supernode_bench::kernels::Family;

fn bench(criterion: &mut Criterion) {
    device::run(criterion, Family::ExpertMatmul);
}

criterion_group!(benches, bench);
criterion_main!(benches);
