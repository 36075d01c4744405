//! Every name that is shown, in one wording.
//!
//! Types of number and kernel families in ids have their names where they are defined, since files and flags use them too.

use crate::kernels::Family;
use crate::projection::{Phase, Provenance};
use crate::record::{Bound, CeilingKind, Clock, DeviceType, Preset, RuntimeChecks};
use crate::report::compare::ratio::RatioVerdict;

/// What a ceiling is the roof of.
pub(crate) const fn ceiling(kind: CeilingKind) -> &'static str {
    match kind {
        CeilingKind::FmaF32 => "f32 multiply-add",
        CeilingKind::FmaF16 => "f16 multiply-add",
        CeilingKind::DotI8 => "int8 dot product",
        CeilingKind::MatrixF16 => "f16 matrix multiply",
        CeilingKind::MemoryRead => "memory read",
        CeilingKind::MemoryWrite => "memory write",
        CeilingKind::MemoryCopy => "memory copy",
        CeilingKind::CacheRead => "cache read",
        CeilingKind::Launch => "empty launch",
        CeilingKind::Submit => "submit and wait",
    }
}

/// A family of kernels, as headings have it.
pub(crate) const fn family(family: Family) -> &'static str {
    match family {
        Family::Gating => "MoE gating",
        Family::ExpertMatmul => "Expert matmul",
        Family::Attention => "Attention",
        Family::Layer => "Whole layer",
    }
}

/// What kind of device an adapter is.
pub(crate) const fn device_type(kind: DeviceType) -> &'static str {
    match kind {
        DeviceType::Discrete => "discrete GPU",
        DeviceType::Integrated => "integrated GPU",
        DeviceType::Virtual => "virtual GPU",
        DeviceType::Software => "software adapter",
        DeviceType::Unknown => "unknown kind",
    }
}

/// A set of shapes.
pub(crate) const fn preset(preset: Preset) -> &'static str {
    match preset {
        Preset::Smoke => "smoke",
        Preset::Quick => "quick",
        Preset::Full => "full",
        Preset::Phone => "phone",
        Preset::Laptop => "laptop",
        Preset::Desktop => "desktop",
    }
}

/// Whether shaders check bounds and loops.
pub(crate) const fn runtime_checks(checks: RuntimeChecks) -> &'static str {
    match checks {
        RuntimeChecks::Off => "off",
        RuntimeChecks::On => "on",
        RuntimeChecks::Browser => "the browser's own",
    }
}

/// What samples were timed with.
pub(crate) const fn clock(clock: Clock) -> &'static str {
    match clock {
        Clock::Device => "device timestamps",
        Clock::Wall => "wall clock",
    }
}

/// What keeps a kernel from being faster.
pub(crate) const fn bound(bound: Bound) -> &'static str {
    match bound {
        Bound::Compute => "compute",
        Bound::Memory => "memory",
        Bound::Launch => "launch",
    }
}

/// What is done with a model.
pub(crate) const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Prefill => "prefill",
        Phase::Decode => "decode",
        Phase::Training => "training",
    }
}

/// Where a number comes from.
pub(crate) const fn provenance(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Measured => "measured",
        Provenance::Published => "published",
        Provenance::Assumed => "assumed",
        Provenance::Derived => "derived",
    }
}

/// What the interval of a ratio shows about B, the document that is compared with A.
pub(crate) const fn ratio_verdict(verdict: RatioVerdict) -> &'static str {
    match verdict {
        RatioVerdict::Faster => "B faster",
        RatioVerdict::Slower => "B slower",
        RatioVerdict::NoDifferenceShown => "none shown",
    }
}

/// A part of a step, from its key.
pub(crate) fn term(key: &str) -> String {
    match key {
        "dispatch" => "dispatch (exposed)".to_owned(),
        "combine" => "combine (exposed)".to_owned(),
        "other_collectives" => "other collectives (exposed)".to_owned(),
        "bubble" => "pipeline bubble".to_owned(),
        _ => key.replace('_', " "),
    }
}

/// The same word at the beginning of a heading.
pub(crate) fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
