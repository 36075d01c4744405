//! Ceilings as text, and which program wrote a record, and where.

use crate::record::{Ceiling, CeilingKind, FmaForm, LastLevelCache, Quantity, Record};
use crate::report::numbers::mebibytes;
use crate::report::text::{clean, short};
use crate::units::{BytesPerSecond, FlopPerSecond, Seconds, with_prefix};

/// A ceiling's value in its unit.
pub(crate) fn ceiling_value(kind: CeilingKind, value: f64) -> String {
    match kind.quantity() {
        Quantity::FlopPerSecond => FlopPerSecond::new(value).to_string(),
        Quantity::OperationsPerSecond => with_prefix(value, "op/s"),
        Quantity::BytesPerSecond => BytesPerSecond::new(value).to_string(),
        Quantity::Seconds => Seconds::new(value).to_string(),
    }
}

/// How a ceiling was found, where there is something to say.
pub(super) fn ceiling_note(ceiling: &Ceiling) -> Option<String> {
    let mut words = Vec::new();
    match ceiling.form {
        Some(FmaForm::Chains) => words.push("chains".to_owned()),
        Some(FmaForm::Outer) => words.push("outer products".to_owned()),
        None => {}
    }
    words.extend(ceiling.workgroup.map(|workgroup| format!("workgroups of {workgroup}")));
    words.extend(ceiling.working_set_bytes.map(|bytes| format!("{} MiB", mebibytes(bytes))));
    words.extend(ceiling.last_level_cache.map(|cache| match cache {
        LastLevelCache::Measured { bytes } => format!("cache ends after {} MiB", mebibytes(bytes)),
        LastLevelCache::AtLeast { bytes } => format!("cache of at least {} MiB", mebibytes(bytes)),
        LastLevelCache::NotSeen => "no cache seen".to_owned(),
    }));
    (!words.is_empty()).then(|| words.join(", "))
}

/// The browser that ran the program with its version; `None` where none did.
pub(super) fn browser(record: &Record) -> Option<String> {
    let browser = record.host.browser.as_ref()?;
    Some(format!("{} {}", clean(&browser.name), clean(&browser.version)))
}

/// The graphics API, and the browser that it was reached through.
pub(super) fn backend(record: &Record) -> String {
    let within = browser(record).map_or_else(String::new, |browser| format!(" in {}", short(&browser, 40)));
    format!("{}{within}", clean(&record.device.backend))
}

/// Tool with version and commit.
pub(super) fn tool(record: &Record) -> String {
    let commit = record.tool.git_commit.as_deref().map_or(String::new(), |commit| format!(" ({})", clean(commit)));
    format!("{} {}{commit}", clean(&record.tool.name), clean(&record.tool.version))
}
