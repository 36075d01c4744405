//! Waiting in a browser, by JavaScript Promise Integration: WebAssembly's stack is set aside until a promise settles, and the
//! page's events go on meanwhile. It works only below an export that is marked `jspi`.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Array, Function, Promise};
use wasm_bindgen::prelude::*;

use super::super::executor::LaunchError;
use super::super::gpu::Gpu;
use crate::units::Seconds;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(call: &Function, milliseconds: f64, argument: &JsValue) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);
}

/// What the promise of the time's end gives.
const TOO_LATE: &str = "too late";

/// Sets the stack aside until `promise` settles.
#[expect(deprecated, reason = "that is how wasm-bindgen marks JSPI as new; the worker asks for it before it starts")]
fn suspend(promise: &Promise) -> Result<JsValue, JsValue> {
    js_sys::futures::jspi_block_on_promise(promise)
}

/// The value of a future.
///
/// # Panics
/// Where the browser cannot set the stack aside; the worker refuses such a browser before it starts anything.
pub(in crate::measure) fn block_on<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
    let value = Rc::new(Cell::new(None));
    let filled = Rc::clone(&value);
    let promise = js_sys::futures::future_to_promise(async move {
        filled.set(Some(future.await));
        Ok(JsValue::UNDEFINED)
    });
    let settled = suspend(&promise);
    match value.take() {
        Some(value) => value,
        None => panic!("this browser cannot suspend WebAssembly: {settled:?}"),
    }
}

/// Lets the page's events go on for `time`.
pub fn pause(time: Duration) {
    let milliseconds = time.as_secs_f64() * 1e3;
    let over = Promise::new(&mut |resolve, _| {
        set_timeout(&resolve, milliseconds, &JsValue::UNDEFINED);
    });
    // A timer is never refused, and an early end of a pause does no harm.
    let _ = suspend(&over);
}

/// Waits for a promise, no longer than `limit`.
fn within(promise: &Promise, limit: Duration) -> Result<(), LaunchError> {
    let timer = OnceCell::new();
    let late = Promise::new(&mut |resolve, _| {
        let _ = timer.set(set_timeout(&resolve, limit.as_secs_f64() * 1e3, &JsValue::from_str(TOO_LATE)));
    });
    let first = suspend(&Promise::race(&Array::of2(promise, &late)));
    if let Some(timer) = timer.get() {
        clear_timeout(timer);
    }
    match first {
        Ok(value) if value.as_string().as_deref() == Some(TOO_LATE) => {
            Err(LaunchError::Hung(Seconds::new(limit.as_secs_f64())))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(LaunchError::Device(format!("{error:?}"))),
    }
}

/// Waits for all work that was submitted, as long as the device's patience lasts. wgpu's own `poll` returns at once here.
///
/// # Errors
/// [`LaunchError::Hung`], [`LaunchError::Device`].
pub(in crate::measure) fn submitted(gpu: &Gpu) -> Result<(), LaunchError> {
    match gpu.queue.as_webgpu() {
        Some(queue) => within(queue.on_submitted_work_done().unchecked_ref(), gpu.patience),
        None => Err(LaunchError::Device("the device is not a browser's".to_owned())),
    }
}

/// Maps a buffer for reading, once all work that was submitted is done.
///
/// # Errors
/// As [`submitted`].
pub(in crate::measure) fn mapped(gpu: &Gpu, buffer: &wgpu::Buffer) -> Result<(), LaunchError> {
    let outcome = Rc::new(OnceCell::new());
    let done = Promise::new(&mut |resolve, _| {
        let outcome = Rc::clone(&outcome);
        buffer.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            let _ = outcome.set(result);
            let _ = resolve.call0(&JsValue::UNDEFINED);
        });
    });
    within(&done, gpu.patience)?;
    match outcome.get() {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(LaunchError::Device(error.to_string())),
        None => Err(LaunchError::Device("the browser did not map the buffer".to_owned())),
    }
}
