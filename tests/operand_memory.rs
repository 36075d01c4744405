//! Making operands takes little more memory than the operands themselves: those of the largest models are gigabytes, and
//! a host has not many times as much. One test, since the allocator counts what all threads hold.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use supernode_bench::kernels::gating::Gate;
use supernode_bench::kernels::layer::MoeLayer;
use supernode_bench::kernels::matmul::Matmul;
use supernode_bench::kernels::{Kernel, Random, StorageType, Tensor};
use supernode_bench::specs::Scoring;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST_HELD: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator cannot be written without; this one hands every call on to the system's")]
// SAFETY: all memory comes from the system's allocator and goes back to it with the layout it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn taken(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST_HELD.fetch_max(held, Ordering::Relaxed);
}

/// Bytes of a kernel's operands, and what was held at most while they were made.
fn made(kernel: &dyn Kernel, variant: &str, element: StorageType) -> (usize, usize) {
    let before = HELD.load(Ordering::Relaxed);
    MOST_HELD.store(before, Ordering::Relaxed);
    let inputs = kernel.inputs(variant, element, 7);
    let most = MOST_HELD.load(Ordering::Relaxed) - before;
    (inputs.values().map(|tensor| tensor.bytes().len()).sum(), most)
}

#[test]
fn operands_are_made_in_little_more_than_their_own_memory() {
    // The threads that share the work are started before anything is counted.
    Tensor::random(&[1 << 18], &[1 << 18], StorageType::F32, Random { sigma: 1.0, seed: 7 });
    let weights = Matmul::dense(1, 2048, 4096);
    let activations = Matmul::dense(2048, 2048, 64);
    for (kernel, variant) in [(&weights, "blocked_8x64"), (&weights, "streamed_8x256"), (&activations, "blocked_8x64")]
    {
        for element in StorageType::ALL {
            let (own, most) = made(kernel, variant, element);
            // Two rows of numbers for each of many threads.
            assert!(most < own + own / 8 + (1 << 20), "{variant} {element}: {most} bytes for {own}");
        }
    }
    let gate = Gate {
        experts: 8,
        top_k: 2,
        scoring: Scoring::Softmax,
        groups: 1,
        kept_groups: 1,
        renormalise: true,
        scale: 1.0,
    };
    let layer =
        MoeLayer { gate, tokens: 2048, hidden: 2048, intermediate: 64, shared: None, router: None, scoring: None };
    let (own, most) = made(&layer, "blocked_8x64", StorageType::F16);
    // The router and the matmuls bring activations of their own, which the layer has from elsewhere.
    assert!(most < own * 2, "layer: {most} bytes for {own}");
}
