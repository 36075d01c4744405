//! The keys of a question: what a grid, a claim and a sweep may say, and what each key takes.

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeyKind {
    /// A name or path.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number in this range.
    Count(i64, i64),
    /// A number in this range.
    Number(f64, f64),
    /// Whatever the key of a chip or fabric takes.
    Any,
}

/// The types that a model may be computed in, as files and flags write them.
pub const TYPES: &[&str] = &["nvfp4", "mxfp4", "int8", "fp8", "bf16", "f16", "f32"];
/// The types that a KV cache may have, as files and flags write them.
pub const CACHE_TYPES: &[&str] = &["fp8", "int8", "bf16", "f16"];
/// The phases that are one step, as files and flags write them.
pub const PHASES: &[&str] = &["prefill", "decode", "training"];
/// The phase that is made of two steps: prefill and decode of the same requests under a load.
pub const SERVING: &str = "serving";
/// All phases of a question: [`PHASES`] and [`SERVING`].
const ASKED_PHASES: &[&str] = &["prefill", "decode", "training", SERVING];
/// Which chips compute what in serving, as files and flags write it.
pub const SERVING_MODES: &[&str] = &["aggregated", "disaggregated", "attention-ffn"];
/// The schedules of a training pipeline, as files and flags write them.
pub const PIPELINES: &[&str] = &["1f1b", "interleaved", "zero-bubble"];
/// How tokens reach the routed experts, as files and flags write it.
pub const EXCHANGES: &[&str] = &["all-to-all", "all-gather"];
const DEGREE: KeyKind = KeyKind::Count(1, 1_000_000);
const TOKENS: KeyKind = KeyKind::Number(1.0, 1e12);

/// Every key of a question, in the order of a point.
pub const KEYS: &[(&str, KeyKind)] = &[
    ("model", KeyKind::Text),
    ("phase", KeyKind::Word(ASKED_PHASES)),
    ("chip", KeyKind::Text),
    ("fabric", KeyKind::Text),
    ("baseline", KeyKind::Text),
    ("chips", KeyKind::Count(1, 1_000_000)),
    ("type", KeyKind::Word(TYPES)),
    ("cache_type", KeyKind::Word(CACHE_TYPES)),
    ("framework", KeyKind::Text),
    ("workload.prompt_len", TOKENS),
    ("workload.kv_len", TOKENS),
    ("workload.output_len", KeyKind::Number(0.0, 1e12)),
    ("workload.tpot_limit_ms", KeyKind::Number(1e-3, 1e9)),
    ("workload.mtp", KeyKind::Count(0, 16)),
    ("workload.mtp_acceptance", KeyKind::Number(0.0, 1.0)),
    ("workload.sequence_len", TOKENS),
    ("workload.global_batch_tokens", TOKENS),
    ("workload.microbatch_sequences", DEGREE),
    ("workload.virtual_stages", DEGREE),
    ("workload.chunk_tokens", TOKENS),
    ("workload.pipeline", KeyKind::Word(PIPELINES)),
    ("workload.concurrency", KeyKind::Count(1, 1_000_000_000)),
    ("workload.request_rate", KeyKind::Number(1e-3, 1e9)),
    ("workload.ttft_limit_ms", KeyKind::Number(1e-3, 1e9)),
    ("workload.length_spread", KeyKind::Number(0.0, 10.0)),
    ("workload.prefix_cache", KeyKind::Number(0.0, 0.999)),
    ("plan.tp", DEGREE),
    ("plan.pp", DEGREE),
    ("plan.ep", DEGREE),
    ("plan.moe_tp", DEGREE),
    ("plan.moe_exchange", KeyKind::Word(EXCHANGES)),
    ("plan.dp", DEGREE),
    ("plan.cp", DEGREE),
    ("plan.dcp", DEGREE),
    ("plan.microbatches", DEGREE),
    ("plan.batch_per_chip", KeyKind::Number(1e-3, 1e9)),
    ("plan.mode", KeyKind::Word(SERVING_MODES)),
    ("plan.prefill_workers", DEGREE),
    ("plan.prefill_tp", DEGREE),
    ("plan.prefill_dp", DEGREE),
    ("plan.prefill_ep", DEGREE),
    ("plan.decode_workers", DEGREE),
    ("plan.decode_tp", DEGREE),
    ("plan.decode_dp", DEGREE),
    ("plan.decode_ep", DEGREE),
];

/// The file whose keys a question may set. In a grid such a key reads `set.chip.KEY`, `set.fabric.KEY` or
/// `set.baseline.KEY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingTarget {
    /// The chip's file.
    Chip,
    /// The fabric's file.
    Fabric,
    /// The file of the fabric that is compared with.
    Baseline,
}

impl SettingTarget {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Chip, Self::Fabric, Self::Baseline];

    /// What its keys begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Chip => "set.chip.",
            Self::Fabric => "set.fabric.",
            Self::Baseline => "set.baseline.",
        }
    }

    /// The file that a key of a grid sets, and the key inside the file; `None` for a key of a question.
    pub fn split(key: &str) -> Option<(Self, &str)> {
        let of = |target: Self| Some((target, key.strip_prefix(target.prefix())?));
        Self::ALL.into_iter().find_map(of).filter(|(_, path)| !path.is_empty())
    }
}

/// What a key takes; `None` if no question has it. `more` are keys in addition to [`KEYS`].
pub(super) fn kind_of_key(key: &str, more: &[(&str, KeyKind)]) -> Option<KeyKind> {
    if SettingTarget::split(key).is_some() {
        return Some(KeyKind::Any);
    }
    KEYS.iter().chain(more).find(|(known, _)| *known == key).map(|(_, kind)| *kind)
}

/// Position of a key in a point: known keys first, then those of `more`, then settings.
pub(super) fn order(key: &str, more: &[(&str, KeyKind)]) -> usize {
    KEYS.iter().chain(more).position(|(known, _)| *known == key).unwrap_or(usize::MAX)
}
