//! Reads of a working set that a cache holds, many times.

use std::collections::BTreeMap;

use crate::kernels::kernel::Kernel;
use crate::kernels::plan::{Launch, Output, Plan, Role};
use crate::kernels::tensor::{Random, Tensor, Tensors};
use crate::kernels::types::{StorageType, Work, named, word};
use crate::kernels::verification::{Deviation, Verification};
use crate::units::Bytes;

/// Reads of a working set, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheProbe {
    /// Length: a power of two, at least 64 bytes per invocation.
    pub bytes: usize,
    /// Times that it is read.
    pub passes: usize,
    /// Invocations: a power of two.
    pub invocations: usize,
}

const WORKGROUP: usize = 64;
/// Invocations to try: what fills a small device, and what gives a large one enough loads in flight.
pub const CACHE_INVOCATIONS: [usize; 2] = [16 * 1024, 64 * 1024];
/// The smallest working set: one pass of the fewest invocations with four loads each.
pub const MIN_CACHE_BYTES: usize = cache_step(CACHE_INVOCATIONS[0]);
/// The vec4 by which reads move from pass to pass: to the lines of another workgroup, and never back within a power of two.
const SHIFT: usize = 5 * WORKGROUP;
/// Additions of the twin that one verification may cost.
const EFFORT: usize = 4_000_000;

/// Bytes that `invocations` read with four loads each.
pub const fn cache_step(invocations: usize) -> usize {
    4 * invocations * 16
}

impl Kernel for CacheProbe {
    fn name(&self) -> &'static str {
        "probe_cache"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[("bytes", self.bytes), ("passes", self.passes), ("invocations", self.invocations)])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["probe"]
    }

    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::F32]
    }

    fn plan(&self, _variant: &str, element: StorageType) -> Plan {
        let Self { bytes, passes, invocations } = *self;
        let mut plan = Plan::new(Work { bytes_read: Bytes::new((bytes * passes) as f64), ..Work::default() });
        let bindings = [plan.buffer("data", Role::Input, bytes), plan.buffer("sum", Role::Output, invocations * 16)];
        plan.launch(
            Launch::of("probe_cache", element)
                .overrides([("WORKGROUP", WORKGROUP as f64)])
                .params([
                    ("vectors", word(bytes / 16)),
                    ("invocations", word(invocations)),
                    ("passes", word(passes)),
                    ("shift", word(SHIFT)),
                ])
                .bindings(bindings)
                .grid([word(invocations / WORKGROUP), 1, 1]),
        );
        plan
    }

    fn inputs(&self, _variant: &str, _element: StorageType, seed: u64) -> Tensors {
        let dims = [self.bytes / MIN_CACHE_BYTES, MIN_CACHE_BYTES / 4];
        Tensors::from([("data", Tensor::random(&dims, &dims, StorageType::F32, Random { sigma: 0.25, seed }))])
    }

    fn outputs(&self, _variant: &str, _element: StorageType) -> Vec<Output> {
        let dims = [self.invocations, 4];
        vec![Output::new("sum", &dims, &dims, StorageType::F32)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, _element: StorageType, _effort: u64) -> Verification {
        let Self { bytes, passes, invocations } = *self;
        let vectors = bytes / 16;
        let cost = vectors / invocations * passes * 4;
        let stride = invocations.div_ceil((EFFORT / cost).max(4)) | 1;
        let mut deviation = Deviation::of("sum");
        for invocation in (0..invocations).step_by(stride) {
            for lane in 0..4 {
                let mut sum = 0.0;
                for pass in 0..passes {
                    let start = invocation + pass * SHIFT;
                    sum += (start..start + vectors)
                        .step_by(invocations)
                        .map(|vector| inputs["data"].at(&[0, vector % vectors * 4 + lane]))
                        .sum::<f64>();
                }
                deviation.pair(&[invocation, lane], outputs["sum"].at(&[invocation, lane]), sum);
            }
        }
        deviation.relative(1e-4, invocations * 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_fill_the_buffers_of_their_plans() {
        let probe = CacheProbe { bytes: 2 << 20, passes: 3, invocations: CACHE_INVOCATIONS[0] };
        let (plan, inputs) = (probe.plan("probe", StorageType::F32), probe.inputs("probe", StorageType::F32, 1));
        assert_eq!(inputs["data"].bytes().len() as u64, plan.buffers[0].size_bytes);
    }
}
