//! The facts, asked of `navigator` and of the open device.

use js_sys::{Function, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use super::user_agent::{self, UserAgent};
use crate::record::{Device, Host};

/// Vendors under WebGPU's names, with the names and PCI ids that native records have.
const VENDORS: [(&str, &str, u32); 11] = [
    ("amd", "AMD", 0x1002),
    ("img-tec", "Imagination", 0x1010),
    ("apple", "Apple", 0x106B),
    ("nvidia", "NVIDIA", 0x10DE),
    ("arm", "Arm", 0x13B5),
    ("microsoft", "Microsoft", 0x1414),
    ("huawei", "Huawei", 0x19E5),
    ("google", "Google", 0x1AE0),
    ("qualcomm", "Qualcomm", 0x5143),
    ("intel", "Intel", 0x8086),
    ("mesa", "Mesa", 0x10005),
];

fn get(of: &JsValue, name: &str) -> Option<JsValue> {
    Reflect::get(of, &JsValue::from_str(name)).ok().filter(|value| !value.is_undefined() && !value.is_null())
}

fn text(of: &JsValue, name: &str) -> String {
    get(of, name).and_then(|value| value.as_string()).unwrap_or_default()
}

fn number(of: &JsValue, name: &str) -> f64 {
    get(of, name).and_then(|value| value.as_f64()).unwrap_or(0.0)
}

fn navigator() -> JsValue {
    get(&js_sys::global(), "navigator").unwrap_or(JsValue::UNDEFINED)
}

fn agent() -> UserAgent {
    user_agent::read(&text(&navigator(), "userAgent"))
}

/// The computer as a browser tells it: no name of the CPU, and a memory that is rounded and never over 8 GiB.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count, and a cast saturates")]
pub(in crate::measure) fn host() -> Host {
    let navigator = navigator();
    Host {
        os: agent().os,
        cpu: "unknown".to_owned(),
        logical_cpus: number(&navigator, "hardwareConcurrency") as u32,
        memory_bytes: (number(&navigator, "deviceMemory") * f64::from(1 << 30)) as u64,
    }
}

/// Fills in what wgpu does not pass on of an open device. The browser stands where a native record has the driver.
pub(in crate::measure) fn complete(mut info: Device, device: &wgpu::Device) -> Device {
    let UserAgent { browser, version, .. } = agent();
    (info.backend, info.driver, info.driver_info) = (Device::BROWSER.to_owned(), browser, version);
    let Some(device) = device.as_webgpu() else { return info };
    let device: &JsValue = device.as_ref();
    let adapter = get(device, "adapterInfo").unwrap_or(JsValue::UNDEFINED);
    let told = text(&adapter, "vendor");
    let known = VENDORS.iter().find(|(name, ..)| told.eq_ignore_ascii_case(name));
    (info.vendor, info.vendor_id) = match known {
        Some((_, name, id)) => ((*name).to_owned(), *id),
        None if told.is_empty() => ("unknown".to_owned(), 0),
        None => (told, 0),
    };
    if info.name.trim().is_empty() {
        let model = [text(&adapter, "device"), text(&adapter, "architecture")];
        let model = model.iter().find(|text| !text.is_empty()).map_or("GPU", String::as_str);
        info.name = format!("{} {model}", info.vendor);
    }
    if has_feature(device, "subgroups") && !info.features.iter().any(|feature| feature == "subgroup") {
        info.features.push("subgroup".to_owned());
        info.features.sort();
    }
    info
}

/// Whether the device has a feature that wgpu does not know of.
fn has_feature(device: &JsValue, feature: &str) -> bool {
    let Some(features) = get(device, "features") else { return false };
    let has = get(&features, "has").and_then(|has| has.dyn_into::<Function>().ok());
    has.and_then(|has| has.call1(&features, &JsValue::from_str(feature)).ok()).is_some_and(|has| has.is_truthy())
}
