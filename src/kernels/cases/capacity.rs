//! What a case may ask of a device: so long at its roofs, so much of its memory and of the host's.

use std::sync::Arc;

use super::super::{Element, Kernel, Plan, Role, Target};
use crate::units::{BytesPerSecond, FlopPerSecond, Seconds};

/// The most that one case may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Capacity {
    /// The roof of f32 arithmetic; no limit of time where `None`.
    pub arithmetic: Option<FlopPerSecond>,
    /// The roof of memory.
    pub memory: Option<BytesPerSecond>,
    /// All buffers of a case together.
    pub case_bytes: u64,
    /// One buffer.
    pub buffer_bytes: u64,
}

/// One run at the roofs. A variant at a quarter of them stays within the longest submission that is ever made.
const CASE_TIME: Seconds = Seconds::new(50e-3);

impl Capacity {
    /// For lists without a device: the sizes of the preset as they stand.
    pub fn unlimited() -> Self {
        Self { arithmetic: None, memory: None, case_bytes: u64::MAX, buffer_bytes: u64::MAX }
    }

    /// A kernel that is within the limits in f32: with fewer rows where it would take long or its results are the largest
    /// buffer, on a narrower share of the weights where they are. Where nothing is left to halve it stays beyond.
    pub fn fit(&self, kernel: Arc<dyn Kernel>) -> Arc<dyn Kernel> {
        let mut kernel = kernel;
        while let Some(smaller) = self.smaller(kernel.as_ref()) {
            kernel = Arc::from(smaller);
        }
        kernel
    }

    fn smaller(&self, kernel: &dyn Kernel) -> Option<Box<dyn Kernel>> {
        let element = kernel.elements().first().copied().unwrap_or(Element::F32);
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

    /// One run at the roofs.
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
        let plan = fitted.plan("tiled_64x128", Element::F32);
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
        assert!(wide.plan("tiled_64x128", Element::F32).total_bytes() <= GIB);
        let heads = Heads { heads: 64, kv_heads: 8, head_dim: 128 };
        let cache = capacity.fit(Arc::new(Decode { heads, sequences: 64, kv_len: 8192 }));
        assert_eq!((shape(cache.as_ref(), "kv_len"), shape(cache.as_ref(), "kv_heads")), (8192, 8));
        assert!(cache.plan("group", Element::F32).total_bytes() <= GIB);
        let buffer = Capacity { buffer_bytes: (1 << 31) - 1, ..Capacity::unlimited() };
        assert_eq!(
            shape(buffer.fit(Arc::new(Decode { heads, sequences: 64, kv_len: 8192 })).as_ref(), "sequences"),
            32
        );
    }
}
