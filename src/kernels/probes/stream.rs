//! Streams through memory: reads, copies and writes of a large buffer.

use std::collections::BTreeMap;

use crate::kernels::kernel::Kernel;
use crate::kernels::plan::{Launch, Output, Plan, Role};
use crate::kernels::probes::launch::seed_word;
use crate::kernels::tensor::{Random, Tensor, TensorType, Tensors};
use crate::kernels::types::{StorageType, Work, named, word};
use crate::kernels::verification::{Deviation, Verification};
use crate::units::Bytes;

/// A streaming read of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadProbe {
    /// Length, rounded down to a multiple of what the grid reads at once.
    pub bytes: usize,
}

/// A streaming copy of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProbe {
    /// Length, rounded down to whole workgroups.
    pub bytes: usize,
}

/// A streaming write of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteProbe {
    /// Length, rounded down to whole workgroups.
    pub bytes: usize,
}

/// Invocations of the read probe: enough loads in flight for the largest device of today, 64 bytes each.
const READ_INVOCATIONS: usize = 128 * 1024;
const READ_WORKGROUP: usize = 64;
/// Invocations per workgroup of copies and writes. With so many, 256 MiB take at most 65,535 workgroups along an axis, the
/// smallest limit of all adapters.
const WRITE_WORKGROUP: usize = 256;
/// Bytes that an invocation copies or writes: four vec4.
const WRITE_BYTES: usize = 64;
/// The most elements of a copy or a write that are compared.
const MOST_COMPARED: usize = 65_536;
/// Columns of the operands of the copy probe, drawn as a matrix.
const COPY_COLUMNS: usize = 1024;

/// The largest multiple of `step` up to `most`, and at least `step`. A buffer must not outgrow the binding limit.
fn multiples(most: usize, step: usize) -> usize {
    (most / step).max(1) * step
}

/// Invocations that copy or write a buffer of this length.
fn write_invocations(bytes: usize) -> usize {
    multiples(bytes / WRITE_BYTES, WRITE_WORKGROUP)
}

impl ReadProbe {
    /// Length of the buffer in vec4.
    fn vectors(self) -> usize {
        multiples(self.bytes / 16, 4 * READ_INVOCATIONS)
    }
}

impl Kernel for ReadProbe {
    fn name(&self) -> &'static str {
        "probe_read"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[("bytes", self.bytes)])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["probe"]
    }

    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::F32]
    }

    fn plan(&self, _variant: &str, element: StorageType) -> Plan {
        let vectors = self.vectors();
        let mut plan = Plan::new(Work { bytes_read: Bytes::new((vectors * 16) as f64), ..Work::default() });
        let bindings =
            [plan.buffer("data", Role::Input, vectors * 16), plan.buffer("sum", Role::Output, READ_INVOCATIONS * 16)];
        plan.launch(
            Launch::of("probe_read", element)
                .overrides([("WORKGROUP", READ_WORKGROUP as f64)])
                .params([("vectors", word(vectors)), ("invocations", word(READ_INVOCATIONS))])
                .bindings(bindings)
                .grid([word(READ_INVOCATIONS / READ_WORKGROUP), 1, 1]),
        );
        plan
    }

    fn inputs(&self, _variant: &str, _element: StorageType, seed: u64) -> Tensors {
        let dims = [self.vectors() / 1024, 4096];
        Tensors::from([("data", Tensor::random(&dims, &dims, StorageType::F32, Random { sigma: 0.25, seed }))])
    }

    fn outputs(&self, _variant: &str, _element: StorageType) -> Vec<Output> {
        let dims = [READ_INVOCATIONS, 4];
        vec![Output::new("sum", &dims, &dims, StorageType::F32)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, _element: StorageType, _effort: u64) -> Verification {
        let mut deviation = Deviation::of("sum");
        let vectors = self.vectors();
        for invocation in (0..READ_INVOCATIONS).step_by(61) {
            for lane in 0..4 {
                let sum: f64 = (invocation..vectors)
                    .step_by(READ_INVOCATIONS)
                    .map(|vector| inputs["data"].at(&[0, vector * 4 + lane]))
                    .sum();
                deviation.pair(&[invocation, lane], outputs["sum"].at(&[invocation, lane]), sum);
            }
        }
        deviation.relative(1e-5, READ_INVOCATIONS * 4)
    }
}

impl CopyProbe {
    fn dims(self) -> [usize; 2] {
        [write_invocations(self.bytes) * WRITE_BYTES / 4 / COPY_COLUMNS, COPY_COLUMNS]
    }
}

impl Kernel for CopyProbe {
    fn name(&self) -> &'static str {
        "probe_copy"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[("bytes", self.bytes)])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["probe"]
    }

    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::F32]
    }

    fn plan(&self, _variant: &str, element: StorageType) -> Plan {
        let invocations = write_invocations(self.bytes);
        let length = invocations * WRITE_BYTES;
        let moved = Bytes::new(length as f64);
        let mut plan = Plan::new(Work { bytes_read: moved, bytes_written: moved, ..Work::default() });
        let bindings = [plan.buffer("data", Role::Input, length), plan.buffer("copy", Role::Rotated, length)];
        plan.launch(
            Launch::of("probe_copy", element)
                .overrides([("WORKGROUP", WRITE_WORKGROUP as f64)])
                .params([("invocations", word(invocations))])
                .bindings(bindings)
                .grid([word(invocations / WRITE_WORKGROUP), 1, 1]),
        );
        plan
    }

    fn inputs(&self, _variant: &str, _element: StorageType, seed: u64) -> Tensors {
        let dims = self.dims();
        Tensors::from([("data", Tensor::random(&dims, &dims, StorageType::F32, Random { sigma: 0.25, seed }))])
    }

    fn outputs(&self, _variant: &str, _element: StorageType) -> Vec<Output> {
        let dims = self.dims();
        vec![Output::new("copy", &dims, &dims, StorageType::F32)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, _element: StorageType, _effort: u64) -> Verification {
        let mut deviation = Deviation::of("copy");
        let length = write_invocations(self.bytes) * WRITE_BYTES / 4;
        for i in (0..length).step_by((length / MOST_COMPARED) | 1) {
            deviation.pair(&[0, i], outputs["copy"].at(&[0, i]), inputs["data"].at(&[0, i]));
        }
        deviation.exact(length)
    }
}

impl Kernel for WriteProbe {
    fn name(&self) -> &'static str {
        "probe_write"
    }

    fn shape(&self) -> BTreeMap<String, u64> {
        named(&[("bytes", self.bytes)])
    }

    fn variants(&self) -> &'static [&'static str] {
        &["probe"]
    }

    fn elements(&self) -> &'static [StorageType] {
        &[StorageType::F32]
    }

    fn plan(&self, _variant: &str, element: StorageType) -> Plan {
        let invocations = write_invocations(self.bytes);
        let length = invocations * WRITE_BYTES;
        let mut plan = Plan::new(Work { bytes_written: Bytes::new(length as f64), ..Work::default() });
        let bindings = [plan.buffer("seed", Role::Input, 4), plan.buffer("filled", Role::Rotated, length)];
        plan.launch(
            Launch::of("probe_write", element)
                .overrides([("WORKGROUP", WRITE_WORKGROUP as f64)])
                .params([("invocations", word(invocations))])
                .bindings(bindings)
                .grid([word(invocations / WRITE_WORKGROUP), 1, 1]),
        );
        plan
    }

    fn inputs(&self, _variant: &str, _element: StorageType, seed: u64) -> Tensors {
        Tensors::from([("seed", seed_word(seed))])
    }

    fn outputs(&self, _variant: &str, _element: StorageType) -> Vec<Output> {
        let length = write_invocations(self.bytes) * WRITE_BYTES / 4;
        vec![Output::new("filled", &[length], &[length], TensorType::Index)]
    }

    fn verify(&self, inputs: &Tensors, outputs: &Tensors, _element: StorageType, _effort: u64) -> Verification {
        let seed = inputs["seed"].index_at(&[0]);
        let length = write_invocations(self.bytes) * WRITE_BYTES / 4;
        let mut deviation = Deviation::of("filled");
        for i in (0..length).step_by((length / MOST_COMPARED) | 1) {
            deviation.pair(&[i], f64::from(outputs["filled"].index_at(&[i])), f64::from(word(i).wrapping_add(seed)));
        }
        deviation.exact(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_stay_within_their_length_and_the_least_grid_limit_of_all_adapters() {
        for bytes in [(128 << 20) - 4, 128 << 20, 256 << 20] {
            let probes: [&dyn Kernel; 3] = [&ReadProbe { bytes }, &CopyProbe { bytes }, &WriteProbe { bytes }];
            for probe in probes {
                let plan = probe.plan("probe", StorageType::F32);
                assert!(plan.largest_grid_axis() <= 65_535, "{probe:?}: {}", plan.largest_grid_axis());
                assert!(plan.largest_buffer_bytes() <= bytes as u64, "{probe:?}");
            }
        }
    }
}
