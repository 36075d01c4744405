//! A simulation as a trace for Perfetto or Chrome: the steps of engines, and requests that wait, are computed and decode.
//!
//! The picture begins when requests count, and is bounded: see [`MOST_EVENTS`], [`MOST_ENGINES`] and [`MOST_REQUESTS`].

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::projection::serving::watch::{SeenStep, SimulationWatch, Turn, WatchedEngines};

/// The spans and counts of a picture. It ends when it has so many, and cuts what goes on then.
pub const MOST_EVENTS: usize = 20_000;
/// The most engines of each kind that are drawn.
pub const MOST_ENGINES: usize = 4;
/// The most requests at once that are drawn; one that comes while there are so many is left out.
pub const MOST_REQUESTS: usize = 64;

/// The process of the requests; those of the engines follow.
const REQUESTS: usize = 0;

/// A request that is drawn.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    /// Its line in the picture, free again when it is answered.
    line: usize,
    /// What it does, and since when, in seconds.
    turn: Turn,
    since_s: f64,
}

/// Draws what it hears.
#[derive(Debug, Default)]
pub struct Picture {
    engines: Option<WatchedEngines>,
    /// When the picture begins and ends, in seconds.
    from_s: Option<f64>,
    to_s: f64,
    /// Requests by place.
    requests: Vec<Option<Drawn>>,
    free: BTreeSet<usize>,
    lines: usize,
    events: Vec<Value>,
}

impl Picture {
    /// The trace: one process with a line for each request at once, and one for each engine.
    pub fn chrome_trace(mut self) -> Value {
        // What goes on at the end is cut.
        for request in std::mem::take(&mut self.requests).into_iter().flatten() {
            self.span_of(&request, self.to_s);
        }
        let mut all = vec![named("process_name", REQUESTS, 0, "requests")];
        all.extend((0..self.lines).map(|line| named("thread_name", REQUESTS, line, &format!("request {line}"))));
        let WatchedEngines { prompts, decode, .. } =
            self.engines.unwrap_or(WatchedEngines { prompts: 0, decode: 0, all_count: true });
        for engine in (0..prompts + decode).filter(|engine| self.shows(*engine)) {
            let name = match engine.checked_sub(prompts) {
                Some(number) => format!("decode engine {number}"),
                None if decode > 0 => format!("prefill engine {engine}"),
                None => format!("engine {engine}"),
            };
            all.push(named("process_name", process(engine), 0, &name));
        }
        all.append(&mut self.events);
        json!({"traceEvents": all, "displayTimeUnit": "ms"})
    }

    /// Whether an engine is drawn.
    fn shows(&self, engine: usize) -> bool {
        let prompts = self.engines.map_or(0, |engines| engines.prompts);
        engine < MOST_ENGINES || (prompts..prompts + MOST_ENGINES).contains(&engine)
    }

    /// Whether there is no room for more.
    fn is_full(&self) -> bool {
        self.events.len() >= MOST_EVENTS
    }

    /// Adds a span, of which what lies before the beginning is cut.
    fn span(&mut self, name: &str, (process, line): (usize, usize), (from, to): (f64, f64), details: &Value) {
        let Some(begin) = self.from_s.filter(|begin| to > from.max(*begin)) else { return };
        let from = from.max(begin);
        self.events.push(json!({
            "name": name,
            "ph": "X",
            "pid": process,
            "tid": line,
            "ts": (from - begin) * 1e6,
            "dur": (to - from) * 1e6,
            "args": details,
        }));
    }

    /// The span of what a request did up to now.
    fn span_of(&mut self, request: &Drawn, now: f64) {
        let (name, details) = match request.turn {
            Turn::Waits { engine } => ("waits", json!({"engine": engine})),
            Turn::Travels => ("cache travels", json!({})),
            Turn::Decodes => ("decode", json!({})),
            Turn::Answered => return,
        };
        self.span(name, (REQUESTS, request.line), (request.since_s, now), &details);
    }

    /// A line for a request that comes; `None` where there are as many as can be.
    fn line(&mut self) -> Option<usize> {
        if let Some(line) = self.free.pop_first() {
            return Some(line);
        }
        let line = self.lines;
        (line < MOST_REQUESTS).then(|| {
            self.lines += 1;
            line
        })
    }
}

impl SimulationWatch for Picture {
    fn begins(&mut self, engines: WatchedEngines) {
        self.engines = Some(engines);
    }

    fn counts(&mut self, now_s: f64) {
        self.from_s.get_or_insert(now_s);
    }

    fn turns(&mut self, now_s: f64, place: usize, turn: Turn) {
        let Some(engines) = self.engines.filter(|_| !self.is_full()) else { return };
        if engines.all_count {
            self.counts(now_s);
        }
        if self.requests.len() <= place {
            self.requests.resize(place + 1, None);
        }
        match (self.requests[place], turn) {
            (None, Turn::Waits { engine }) if engine < engines.prompts && self.shows(engine) => {
                let line = self.line();
                self.requests[place] = line.map(|line| Drawn { line, turn, since_s: now_s });
            }
            (None, _) => {}
            (Some(request), Turn::Answered) => {
                self.span_of(&request, now_s);
                self.free.insert(request.line);
                self.requests[place] = None;
            }
            (Some(request), _) => {
                self.span_of(&request, now_s);
                self.requests[place] = Some(Drawn { turn, since_s: now_s, ..request });
            }
        }
    }

    fn step(&mut self, seen: &SeenStep<'_>) {
        let SeenStep { engine, from_s, to_s, step, chunk, waiting } = *seen;
        if self.is_full() || !self.shows(engine) {
            return;
        }
        self.to_s = self.to_s.max(to_s);
        for (place, tokens) in chunk {
            let Some(request) = self.requests.get(*place).copied().flatten() else { continue };
            // It waited up to here, and is in a step up to its next turn.
            self.span_of(&request, from_s);
            self.requests[*place] = Some(Drawn { since_s: to_s, ..request });
            self.span("prefill", (REQUESTS, request.line), (from_s, to_s), &json!({"tokens": tokens}));
        }
        let name = match (step.sequences, step.prompt_tokens > 0.0) {
            (0, _) => "prefill",
            (_, true) => "prefill and decode",
            (_, false) => "decode",
        };
        let details = json!({"sequences": step.sequences, "prompt tokens": step.prompt_tokens});
        self.span(name, (process(engine), 0), (from_s, to_s), &details);
        if let Some(begin) = self.from_s.filter(|begin| from_s >= *begin) {
            self.events.push(json!({
                "name": "requests",
                "ph": "C",
                "pid": process(engine),
                "ts": (from_s - begin) * 1e6,
                "args": {"in decode": step.sequences, "waiting": waiting},
            }));
        }
    }
}

/// The process of an engine.
const fn process(engine: usize) -> usize {
    REQUESTS + 1 + engine
}

fn named(what: &str, process: usize, line: usize, name: &str) -> Value {
    json!({"name": what, "ph": "M", "pid": process, "tid": line, "args": {"name": name}})
}
