//! Work on all cores. A browser's module has one thread, so there it carries no pool of them.

/// `one` of each item, in their order. Each thread has a scratch of its own, which `one` may change.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn map<T: Sync, S, R: Send>(
    items: &[T],
    scratch: impl Fn() -> S + Sync + Send,
    one: impl Fn(&mut S, &T) -> R + Sync + Send,
) -> Vec<R> {
    use rayon::prelude::*;
    items.par_iter().map_init(scratch, one).collect()
}

/// The same on one thread.
#[cfg(target_arch = "wasm32")]
pub(super) fn map<T, S, R>(items: &[T], scratch: impl Fn() -> S, one: impl Fn(&mut S, &T) -> R) -> Vec<R> {
    let mut scratch = scratch();
    items.iter().map(|item| one(&mut scratch, item)).collect()
}
