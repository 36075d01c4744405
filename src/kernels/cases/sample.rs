//! Cases by the pipelines that they run, for devices in software: they take longest to compile the same shaders for other
//! sizes.

use std::collections::BTreeMap;

use super::CaseSpec;

/// Cases of one kernel, variant and type that run the same pipelines.
pub type Alike = Vec<CaseSpec>;

/// The cases of each kernel, variant and type (ascending) by the pipelines that they run.
pub fn by_pipelines(cases: impl IntoIterator<Item = CaseSpec>) -> Vec<Vec<Alike>> {
    let mut variants = BTreeMap::<_, BTreeMap<Vec<String>, Alike>>::new();
    for case in cases {
        let pipelines = case.case().plan().launches.iter().map(|launch| launch.name()).collect();
        let sets = variants.entry((case.kernel.name(), case.variant, case.element)).or_default();
        sets.entry(pipelines).or_default().push(case);
    }
    variants.into_values().map(|sets| sets.into_values().collect()).collect()
}

/// Of each kernel, variant and type the cases of one set of pipelines. Variants in a row take different sets, so that all
/// sizes have their turn.
pub fn one_set_each(variants: Vec<Vec<Alike>>) -> Vec<Alike> {
    let chosen = |(turn, sets): (usize, Vec<Alike>)| {
        let count = sets.len().max(1);
        sets.into_iter().nth(turn % count)
    };
    variants.into_iter().enumerate().filter_map(chosen).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{by_pipelines, one_set_each};
    use crate::kernels::cases::verification_cases;

    #[test]
    fn a_sample_has_every_variant_and_type_and_few_of_the_pipelines() {
        let variant = |case: &crate::kernels::cases::CaseSpec| (case.kernel.name(), case.variant, case.element);
        let cases = verification_cases();
        let all: BTreeSet<_> = cases.iter().map(variant).collect();
        let variants = by_pipelines(cases.clone());
        assert_eq!(variants.iter().flatten().map(Vec::len).sum::<usize>(), cases.len());
        let sets = variants.iter().map(Vec::len).sum::<usize>();
        let sample = one_set_each(variants);
        assert!(sample.len() == all.len() && sample.len() * 2 < sets, "{} of {sets}", sample.len());
        assert_eq!(sample.iter().flatten().map(variant).collect::<BTreeSet<_>>(), all);
    }
}
