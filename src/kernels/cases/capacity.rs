//! The limits of a case on a device: the time at its roofs, and memory of device and host.

use std::sync::Arc;

use crate::kernels::kernel::Kernel;
use crate::kernels::plan::{Plan, Role};
use crate::kernels::target::Target;
use crate::kernels::types::StorageType;
use crate::units::{BytesPerSecond, FlopPerSecond, Seconds};

/// The largest size of one case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// The roof of f32 arithmetic; `None` for no limit of its time.
    pub arithmetic: Option<FlopPerSecond>,
    /// The roof of memory; `None` for no limit of its time.
    pub memory: Option<BytesPerSecond>,
    /// Bytes of all buffers of a case together.
    pub case_bytes: u64,
    /// Bytes of one buffer.
    pub buffer_bytes: u64,
}

/// The longest run at the roofs. A variant that reaches a quarter of them stays within the longest allowed submission.
const CASE_TIME: Seconds = Seconds::new(50e-3);

impl Capacity {
    /// No limits: the sizes of the preset unchanged, for lists without a device.
    pub fn unlimited() -> Self {
        Self { arithmetic: None, memory: None, case_bytes: u64::MAX, buffer_bytes: u64::MAX }
    }

    /// Halves the kernel until its first type is within the limits, or nothing is left to halve. If it takes too long, or
    /// an output is the largest buffer, it loses rows first. If an input is the largest buffer, it gets a narrower share
    /// of the weights first.
    pub fn fit(&self, kernel: Arc<dyn Kernel>) -> Arc<dyn Kernel> {
        let mut kernel = kernel;
        while let Some(smaller) = self.smaller(kernel.as_ref()) {
            kernel = Arc::from(smaller);
        }
        kernel
    }

    fn smaller(&self, kernel: &dyn Kernel) -> Option<Box<dyn Kernel>> {
        let element = kernel.elements().first().copied().unwrap_or(StorageType::F32);
        let plan = kernel.plan(kernel.default_variant(&Target::default()), element);
        if self.time(&plan) > CASE_TIME {
            return kernel.fewer_rows();
        }
        if plan.total_bytes() <= self.case_bytes && plan.largest_buffer_bytes() <= self.buffer_bytes {
            return None;
        }
        let largest = plan.buffers.iter().max_by_key(|buffer| buffer.size_bytes);
        match largest.map(|buffer| buffer.role) {
            Some(Role::Input) => kernel.narrower().or_else(|| kernel.fewer_rows()),
            _ => kernel.fewer_rows().or_else(|| kernel.narrower()),
        }
    }

    /// The time of one run at the roofs.
    fn time(&self, plan: &Plan) -> Seconds {
        let arithmetic = self.arithmetic.map_or(Seconds::ZERO, |rate| plan.work.flop / rate);
        let memory = self.memory.map_or(Seconds::ZERO, |rate| plan.work.bytes() / rate);
        arithmetic.max(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::attention::{Decode, Heads, Prefill};
    use crate::kernels::matmul::Matmul;

    const GIB: u64 = 1 << 30;

    fn shape(kernel: &dyn Kernel, name: &str) -> u64 {
        kernel.shape()[name]
    }

    #[test]
    fn a_slow_device_gets_fewer_rows_of_the_same_weights() {
        let arithmetic = Some(FlopPerSecond::new(12e12));
        let capacity = Capacity { arithmetic, ..Capacity::unlimited() };
        let fitted = capacity.fit(Arc::new(Matmul::dense(16384, 4096, 28672)));
        let plan = fitted.plan("tiled_64x128", StorageType::F32);
        assert!(plan.work.flop / FlopPerSecond::new(12e12) <= CASE_TIME);
        assert_eq!((shape(fitted.as_ref(), "k"), shape(fitted.as_ref(), "n")), (4096, 28672));
        assert_eq!(shape(fitted.as_ref(), "tokens"), 2048);
        let long = Prefill::causal(Heads { heads: 128, kv_heads: 8, head_dim: 128 }, 8192, 8192);
        assert!(shape(capacity.fit(Arc::new(long)).as_ref(), "q_len") < 8192);
    }

    #[test]
    fn weights_beyond_the_memory_are_divided_and_caches_lose_sequences() {
        let capacity = Capacity { case_bytes: GIB, ..Capacity::unlimited() };
        let wide = capacity.fit(Arc::new(Matmul::dense(64, 16384, 106_496)));
        assert_eq!((shape(wide.as_ref(), "tokens"), shape(wide.as_ref(), "k")), (64, 16384));
        assert!(wide.plan("tiled_64x128", StorageType::F32).total_bytes() <= GIB);
        let heads = Heads { heads: 64, kv_heads: 8, head_dim: 128 };
        let cache = capacity.fit(Arc::new(Decode::new(heads, 64, 8192)));
        assert_eq!((shape(cache.as_ref(), "kv_len"), shape(cache.as_ref(), "kv_heads")), (8192, 8));
        assert!(cache.plan("group", StorageType::F32).total_bytes() <= GIB);
        let buffer = Capacity { buffer_bytes: (1 << 31) - 1, ..Capacity::unlimited() };
        assert_eq!(shape(buffer.fit(Arc::new(Decode::new(heads, 64, 8192))).as_ref(), "sequences"), 32);
    }
}
