//! What a simulation tells those who watch it.

use crate::projection::serving::step_table::MetStep;

/// What is simulated, as those who watch need to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedEngines {
    /// Engines that compute prompts, and answers too if there are none for them. They are counted from 0.
    pub prompts: usize,
    /// Engines that compute answers alone, counted after the former.
    pub decode: usize,
    /// Whether all requests count, those of a warm-up too.
    pub all_count: bool,
}

/// What a request does from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It waits for an engine.
    Waits {
        /// The engine, counted as in [`WatchedEngines`].
        engine: usize,
    },
    /// Its KV cache travels to an engine that decodes.
    Travels,
    /// It gets a token with each step.
    Decodes,
    /// It is done. Another request may take its place.
    Answered,
}

/// A step of an engine as it begins.
#[derive(Debug, Clone, Copy)]
pub struct SeenStep<'a> {
    /// The engine, counted as in [`WatchedEngines`].
    pub engine: usize,
    /// When it begins, in seconds.
    pub from_s: f64,
    /// When it ends, in seconds.
    pub to_s: f64,
    /// What is in it.
    pub step: MetStep,
    /// The requests whose prompts are in it, by place, each with its tokens.
    pub chunk: &'a [(usize, f64)],
    /// Requests that wait for the engine and are not in it.
    pub waiting: usize,
}

/// Hears what happens in a simulation, in the order of time. A request is known by its place, which another request takes
/// after it is answered.
pub trait SimulationWatch {
    /// The simulation begins.
    fn begins(&mut self, _engines: WatchedEngines) {}
    /// The requests that are answered from now on count.
    fn counts(&mut self, _now_s: f64) {}
    /// The request of a place does something else from now on. A prompt that is computed is part of a step.
    fn turns(&mut self, _now_s: f64, _place: usize, _turn: Turn) {}
    /// An engine begins a step.
    fn step(&mut self, _seen: &SeenStep<'_>) {}
}

/// Nobody watches.
impl SimulationWatch for () {}
