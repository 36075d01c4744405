//! Figures of llama.cpp's `llama-bench` (`-o json` or `-o jsonl`), to be shown next to those of a record.

use serde::{Deserialize, Serialize};

use crate::kernels::{Family, KernelPhase, StorageType};
use crate::record::{Case, Record};
use crate::report::numbers::grouped_digits;
use crate::report::text::{clean, short};
use crate::units::{BytesPerSecond, FlopPerSecond};

/// The most tests that are read of one file.
const MAX_TESTS: usize = 10_000;
/// The largest file that is read.
const MAX_BYTES: usize = 16 << 20;
/// The largest count of parameters, bytes or tokens that is believed.
const MAX_COUNT: f64 = 1e18;

/// What was read, compared with the ceilings of a record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LlamaBench {
    /// Where it was read from.
    pub file: String,
    /// What to keep in mind.
    pub notes: Vec<String>,
    /// One per test.
    pub rows: Vec<LlamaRow>,
}

/// One test: a prompt (`pp512`), a generation (`tg128`) or both in turn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LlamaRow {
    /// Model and quantisation as llama.cpp names them.
    pub model: String,
    /// The test's short name, with `@ d4096` where the cache was filled first.
    pub test: String,
    /// Tokens per second, mean over the repetitions.
    pub tokens_per_s: f64,
    /// Standard deviation of the same.
    pub stddev_tokens_per_s: f64,
    /// llama.cpp's backends.
    pub backend: String,
    /// Two operations per parameter and token; of prompts of a dense model only.
    pub flop_per_s: Option<FlopPerSecond>,
    /// All bytes of the model once per token; of generation by a dense model only.
    pub bytes_per_s: Option<BytesPerSecond>,
    /// The derived rate over the record's ceiling: the faster multiply-add, or the memory's.
    pub of_ceiling: Option<f64>,
    /// The record's fastest matmul of the same phase, in the same unit.
    pub fastest_kernel: Option<f64>,
}

/// Why a file of llama-bench was not read: what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LlamaBenchError {
    /// Larger than any output of llama-bench.
    #[error("larger than {} MiB, so not an output of llama-bench", MAX_BYTES >> 20)]
    TooLarge,
    /// Neither an array of tests nor one test per line.
    #[error("not an output of llama-bench ({0}); write one with `llama-bench -o json`")]
    Layout(String),
    /// A figure that cannot be.
    #[error("test {0}: {1} cannot be; write the file again with `llama-bench -o json`")]
    Value(usize, &'static str),
}

/// The fields that are used; llama.cpp adds others from version to version.
#[derive(Deserialize)]
struct Test {
    model_type: String,
    model_size: f64,
    model_n_params: f64,
    n_prompt: f64,
    n_gen: f64,
    #[serde(default)]
    n_depth: f64,
    avg_ts: f64,
    stddev_ts: f64,
    #[serde(default)]
    gpu_info: String,
    #[serde(default)]
    backends: String,
}

impl LlamaBench {
    /// Reads an output of llama-bench and compares it with `record`.
    ///
    /// # Errors
    /// [`LlamaBenchError`].
    pub fn read(file: &str, bytes: &[u8], record: &Record) -> Result<Self, LlamaBenchError> {
        let tests = parse(bytes)?;
        let rows = tests.iter().enumerate().map(|(i, test)| {
            check(test).map_err(|what| LlamaBenchError::Value(i + 1, what))?;
            Ok(row(test, record))
        });
        let rows = rows.collect::<Result<_, _>>()?;
        Ok(Self { file: clean(file), notes: notes(&tests, record), rows })
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Test>, LlamaBenchError> {
    if bytes.len() > MAX_BYTES {
        return Err(LlamaBenchError::TooLarge);
    }
    let layout = |error: serde_json::Error| LlamaBenchError::Layout(short(&error.to_string(), 120));
    let tests: Vec<Test> = if bytes.trim_ascii_start().first() == Some(&b'[') {
        serde_json::from_slice(bytes).map_err(layout)?
    } else {
        let tests = serde_json::Deserializer::from_slice(bytes).into_iter().take(MAX_TESTS + 1);
        tests.collect::<Result<_, _>>().map_err(layout)?
    };
    match tests.len() {
        0 => Err(LlamaBenchError::Layout("no test in it".to_owned())),
        1..=MAX_TESTS => Ok(tests),
        _ => Err(LlamaBenchError::Layout(format!("more than {MAX_TESTS} tests"))),
    }
}

fn check(test: &Test) -> Result<(), &'static str> {
    let count = |value: f64| (0.0..=MAX_COUNT).contains(&value);
    let figures = [
        (count(test.model_size) && test.model_size > 0.0, "model_size"),
        (count(test.model_n_params) && test.model_n_params > 0.0, "model_n_params"),
        (count(test.n_prompt), "n_prompt"),
        (count(test.n_gen) && test.n_prompt + test.n_gen > 0.0, "n_gen"),
        (count(test.n_depth), "n_depth"),
        (count(test.avg_ts) && test.avg_ts > 0.0, "avg_ts"),
        (count(test.stddev_ts), "stddev_ts"),
    ];
    figures.into_iter().find(|(sound, _)| !sound).map_or(Ok(()), |(_, what)| Err(what))
}

fn row(test: &Test, record: &Record) -> LlamaRow {
    let dense = !is_mixture(&test.model_type);
    let (prompt_only, generation_only) = (test.n_gen == 0.0, test.n_prompt == 0.0);
    let flop = (dense && prompt_only).then(|| FlopPerSecond::new(2.0 * test.model_n_params * test.avg_ts));
    let bytes = (dense && generation_only).then(|| BytesPerSecond::new(test.model_size * test.avg_ts));
    let fma = [StorageType::F32, StorageType::F16];
    let fma = fma.into_iter().filter_map(|element| record.fma_ceiling(element)).reduce(FlopPerSecond::max);
    let (of_ceiling, fastest_kernel) = match (flop, bytes) {
        (Some(rate), _) => {
            (fma.map(|roof| rate / roof), fastest(record, KernelPhase::Prefill, |c| c.achieved.flop_per_s.get()))
        }
        (_, Some(rate)) => (
            record.memory_ceiling().map(|roof| rate / roof),
            fastest(record, KernelPhase::Decode, |case| case.achieved.bytes_per_s.get()),
        ),
        _ => (None, None),
    };
    LlamaRow {
        model: clean(&test.model_type),
        test: name(test),
        tokens_per_s: test.avg_ts,
        stddev_tokens_per_s: test.stddev_ts,
        backend: clean(&test.backends),
        flop_per_s: flop,
        bytes_per_s: bytes,
        of_ceiling: of_ceiling.filter(|share| share.is_finite()),
        fastest_kernel,
    }
}

/// Whether llama.cpp's name of a model is that of a mixture of experts: `8x7B`, `30B.A3B`, `moe`.
fn is_mixture(model_type: &str) -> bool {
    let name = model_type.to_lowercase();
    let digits_around = |at: usize, step: usize| {
        let before = name[..at].chars().next_back().is_some_and(|c| c.is_ascii_digit());
        before && name[at + step..].chars().next().is_some_and(|c| c.is_ascii_digit())
    };
    let experts = name.match_indices('x').any(|(at, found)| digits_around(at, found.len()));
    let active = name
        .match_indices(".a")
        .any(|(at, found)| name[at + found.len()..].chars().next().is_some_and(|c| c.is_ascii_digit()));
    // DeepSeek 2 and 3, gpt-oss and the like are mixtures although their names have no such numbers.
    let known = ["moe", "deepseek2", "gpt-oss", "mixtral", "llama4", "kimi", "dbrx", "grok"];
    experts || active || known.iter().any(|word| name.contains(word))
}

fn name(test: &Test) -> String {
    let parts = [("pp", test.n_prompt), ("tg", test.n_gen)];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, tokens)| *tokens > 0.0)
        .map(|(what, tokens)| format!("{what}{tokens:.0}"))
        .collect();
    let depth = if test.n_depth > 0.0 { format!(" @ d{:.0}", test.n_depth) } else { String::new() };
    format!("{}{depth}", parts.join("+"))
}

fn fastest(record: &Record, phase: KernelPhase, rate: impl Fn(&Case) -> f64) -> Option<f64> {
    let of_phase = record.cases.iter().filter(|case| case.family == Family::ExpertMatmul && case.phase == phase);
    of_phase.map(rate).reduce(f64::max)
}

fn notes(tests: &[Test], record: &Record) -> Vec<String> {
    let mut notes = Vec::new();
    let ours = record.device.name.to_lowercase();
    let mut others: Vec<String> = tests.iter().map(|test| test.gpu_info.clone()).collect();
    others.sort();
    others.dedup();
    for gpu in others {
        let theirs = gpu.to_lowercase();
        let same = !theirs.trim().is_empty() && (theirs.contains(&ours) || ours.contains(theirs.trim()));
        if !same {
            let gpu = if gpu.trim().is_empty() { "no GPU named".to_owned() } else { short(&gpu, 80) };
            notes.push(format!("llama-bench ran on another device, by name: {gpu}"));
        }
    }
    if tests.iter().any(|test| is_mixture(&test.model_type)) {
        notes.push("no rates are derived of mixtures of experts: a token meets only some parameters".to_owned());
    }
    notes
}

impl LlamaRow {
    pub(super) fn shown_rate(&self) -> String {
        format!("{} ±{}", grouped_digits(self.tokens_per_s), grouped_digits(self.stddev_tokens_per_s))
    }

    pub(super) fn derived_rate(&self) -> String {
        match (self.flop_per_s, self.bytes_per_s) {
            (Some(rate), _) => rate.to_string(),
            (_, Some(rate)) => rate.to_string(),
            _ => "-".to_owned(),
        }
    }

    pub(super) fn shown_fastest(&self) -> String {
        match (self.fastest_kernel, self.flop_per_s) {
            (Some(rate), Some(_)) => FlopPerSecond::new(rate).to_string(),
            (Some(rate), None) => BytesPerSecond::new(rate).to_string(),
            (None, _) => "-".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixtures_are_told_from_dense_models_by_name() {
        for name in ["llama 8x7B Q4_0", "qwen3moe 30B.A3B Q4_K", "deepseek2 671B Q4", "gpt-oss 20B MXFP4 MoE"] {
            assert!(is_mixture(name), "{name}");
        }
        for name in ["llama 7B mostly Q4_0", "qwen2 72B Q8_0", "phi3 14B", "x", "gemma3 4B.q4"] {
            assert!(!is_mixture(name), "{name}");
        }
    }
}
