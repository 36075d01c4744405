//! Cases of a record as tables show them: what each computes, which variant is fastest, under which heading.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernels::{Family, KernelPhase, StorageType};
use crate::record::{CacheState, Case, Record};
use crate::report::text::clean;
use crate::report::words;

/// Model, phase and shape: what a case computes, without how.
pub(super) fn setting(case: &Case) -> String {
    format!("{} {}{}, {}", clean(&case.model), case.phase, scale_words(case), shape(&case.shape))
}

/// The same with named sizes only, e.g. `tokens 512, top_k 1`, as files of comparisons have it.
pub(super) fn named_setting(case: &Case) -> String {
    format!("{} {}{}, {}", clean(&case.model), case.phase, scale_words(case), named_sizes(&case.shape))
}

/// What a layer's sizes were divided by, if anything.
pub(super) fn scale_words(case: &Case) -> String {
    if case.scale_divisor > 1 { format!(" (1/{} size)", case.scale_divisor) } else { String::new() }
}

/// A shape as the field writes it. A grouped product is `groups x [m x n x k]`, where m is the mean number of rows per
/// group; one product is `[m x n x k]`. Other kernels have named sizes, e.g. `heads 4, kv_len 1024`.
pub fn shape(shape: &BTreeMap<String, u64>) -> String {
    product(shape).unwrap_or_else(|| named_sizes(shape))
}

fn named_sizes(shape: &BTreeMap<String, u64>) -> String {
    let pairs: Vec<String> = shape.iter().map(|(name, size)| format!("{} {size}", clean(name))).collect();
    pairs.join(", ")
}

/// The shape of a matrix product; `None` for any other kernel.
pub(super) fn product(shape: &BTreeMap<String, u64>) -> Option<String> {
    const NAMES: [&str; 6] = ["experts", "k", "n", "rows_of_fullest", "tokens", "top_k"];
    let size = |name: &str| shape.get(name).copied();
    let (experts, n, k) = (size("experts")?, size("n")?, size("k")?);
    let rows = size("tokens")?.checked_mul(size("top_k")?)?;
    if experts == 0 || !shape.keys().all(|name| NAMES.contains(&name.as_str())) {
        return None;
    }
    let m =
        if rows % experts == 0 { (rows / experts).to_string() } else { format!("{:.1}", rows as f64 / experts as f64) };
    let one = format!("[{m} x {n} x {k}]");
    let fullest = size("rows_of_fullest").map_or(String::new(), |rows| format!(", {rows} rows in the fullest"));
    Some(if experts == 1 { format!("{one}{fullest}") } else { format!("{experts} x {one}{fullest}") })
}

/// Ids of the fastest variant of each kernel, type and setting that has more than one variant, and of all the others.
pub(super) struct FastestVariants<'a> {
    /// The fastest of two or more.
    pub(super) winners: BTreeSet<&'a str>,
    /// Winners, and cases without a rival.
    pub(super) all: BTreeSet<&'a str>,
}

/// The fastest variants of a record.
pub(super) fn best(record: &Record) -> FastestVariants<'_> {
    type Question<'a> =
        (Family, &'a str, StorageType, &'a str, KernelPhase, (u32, CacheState), &'a BTreeMap<String, u64>);
    let mut groups: BTreeMap<Question<'_>, Vec<&Case>> = BTreeMap::new();
    for case in &record.cases {
        let state = (case.scale_divisor, case.cache);
        let question = (case.family, &*case.kernel, case.element, &*case.model, case.phase, state, &case.shape);
        groups.entry(question).or_default().push(case);
    }
    let mut best = FastestVariants { winners: BTreeSet::new(), all: BTreeSet::new() };
    for rivals in groups.values() {
        let fastest = rivals.iter().min_by(|a, b| a.timing.median_s.get().total_cmp(&b.timing.median_s.get()));
        let Some(fastest) = fastest else { continue };
        best.all.insert(&fastest.id);
        if rivals.len() > 1 {
            best.winners.insert(&fastest.id);
        }
    }
    best
}

/// Cases under a heading for each family, model, phase and size; in a group they keep the order of measurement.
pub(super) fn groups(cases: Vec<&Case>) -> Vec<(String, Vec<&Case>)> {
    let mut cases = cases;
    cases.sort_by(|a, b| {
        let key = |case: &Case| (case.family, case.phase, case.scale_divisor);
        key(a).cmp(&key(b)).then_with(|| a.model.cmp(&b.model)).then_with(|| a.shape.cmp(&b.shape))
    });
    let mut groups: Vec<(String, Vec<&Case>)> = Vec::new();
    for case in cases {
        let heading = format!("{}: {}", words::family(case.family), setting(case));
        match groups.last_mut() {
            Some((last, group)) if *last == heading => group.push(case),
            _ => groups.push((heading, vec![case])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sizes: &[(&str, u64)]) -> String {
        shape(&sizes.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect())
    }

    #[test]
    fn products_are_groups_of_m_n_k_and_other_kernels_have_named_sizes() {
        let grouped = [("experts", 8), ("k", 896), ("n", 256), ("tokens", 512), ("top_k", 1)];
        assert_eq!(shown(&grouped), "8 x [64 x 256 x 896]");
        let skewed = [grouped.as_slice(), &[("rows_of_fullest", 196)]].concat();
        assert_eq!(shown(&skewed), "8 x [64 x 256 x 896], 196 rows in the fullest");
        assert_eq!(
            shown(&[("experts", 1), ("k", 512), ("n", 1792), ("tokens", 16), ("top_k", 1)]),
            "[16 x 1792 x 512]"
        );
        assert_eq!(
            shown(&[("experts", 384), ("k", 7168), ("n", 2048), ("tokens", 64), ("top_k", 8)]),
            "384 x [1.3 x 2048 x 7168]"
        );
        assert_eq!(shown(&[("heads", 4), ("kv_len", 1024)]), "heads 4, kv_len 1024");
        assert_eq!(shown(&[("k", 1), ("n", 2), ("stranger", 3)]), "k 1, n 2, stranger 3");
    }
}
