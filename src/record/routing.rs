//! Which case of a document tells how tokens spread over experts.

use super::{Case, Record};
use crate::kernels::Family;

impl Record {
    /// The case whose routing stands for this document: of those over `experts` experts (any number where `None`) that of
    /// a gate before that of a whole layer before that of a sort, whose routing was drawn; among equals the one with the
    /// most token slots, and the first of them. `None` where no such case holds a routing.
    pub fn routing(&self, experts: Option<usize>) -> Option<&Case> {
        let rank = |case: &Case| match case.family {
            Family::Gating if case.kernel != "sort" => 2,
            Family::Layer => 1,
            _ => 0,
        };
        let slots = |case: &Case| case.tokens_per_expert.iter().copied().map(u64::from).sum::<u64>();
        let fits = |case: &&Case| experts.is_none_or(|experts| case.tokens_per_expert.len() == experts);
        let routed = self.cases.iter().filter(|case| !case.tokens_per_expert.is_empty());
        routed.filter(fits).rev().max_by_key(|case| (rank(case), slots(case)))
    }
}
