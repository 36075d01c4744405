//! What happens, as JSON for the page.

use js_sys::Function;
use serde_json::{Value, json};
use supernode_bench::measure::session::Event;
use supernode_bench::record::Receiver;
use wasm_bindgen::JsValue;

/// Whoever hears what happens.
pub(super) struct Listener(Function);

impl Listener {
    pub(super) fn new(listen: &Function) -> Self {
        Self(listen.clone())
    }

    /// A listener that throws is not heard: the run goes on.
    fn tell(&self, event: &Value) {
        let _ = self.0.call2(&JsValue::NULL, &"event".into(), &event.to_string().into());
    }

    /// Where the unfinished record goes. What the listener throws ends the run: nothing could be kept any more.
    pub(super) fn journal(&self) -> Receiver {
        let listen = self.0.clone();
        Box::new(move |record| {
            let told = listen.call2(&JsValue::NULL, &"journal".into(), &record.into());
            told.map(drop).map_err(|error| format!("{error:?}"))
        })
    }

    pub(super) fn note(&self, text: &str) {
        self.tell(&json!({ "event": "note", "text": text }));
    }

    pub(super) fn verified(&self, id: &str, problem: Option<&str>, cases: usize) {
        self.tell(&json!({ "event": "verified", "id": id, "problem": problem, "cases": cases }));
    }

    /// The events of a session: each has its kind in the field `event`.
    pub(super) fn session(&self, event: &Event<'_>) {
        self.tell(&match event {
            Event::Ceiling(kind, value) => json!({ "event": "ceiling", "kind": kind, "value": value }),
            Event::Planned { cases, done, preset, reason, estimate } => json!({
                "event": "planned", "cases": cases, "done": done, "preset": preset, "reason": reason,
                "wall_s": estimate.wall, "host_bytes": estimate.host_bytes, "device_bytes": estimate.device_bytes,
            }),
            Event::Started(id) => json!({ "event": "started", "id": id }),
            Event::Trying(id, variant) => json!({ "event": "trying", "id": id, "variant": variant }),
            Event::Tuned(id, tuning) => json!({ "event": "tuned", "id": id, "tuning": tuning }),
            Event::Repeated(id, ratio) => json!({ "event": "repeated", "id": id, "ratio": ratio }),
            Event::Paused(id, pause) => json!({ "event": "paused", "id": id, "pause_s": pause }),
            Event::Note(text) => json!({ "event": "note", "text": text }),
            Event::Measured(case) => json!({ "event": "measured", "case": case }),
            Event::LeftOut(case) => json!({ "event": "left_out", "id": case.id, "reason": case.reason }),
            Event::Rejected(case) => json!({ "event": "rejected", "id": case.id, "reason": case.reason }),
        });
    }
}
