//! How much each of several causes changes a value, whatever the order in which they take effect (Shapley, 1953).
//!
//! A cause is a set of properties, one bit each. A value is known for each set of properties.

/// A set of properties, one bit each.
pub(super) type PropertySet = u16;

/// What a cause changes, over all orders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ChangeOverOrders {
    pub(super) mean: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

/// What the cause of this number changes of `value` when it joins each set of the other causes.
pub(super) fn shapley(causes: &[PropertySet], cause: usize, value: impl Fn(PropertySet) -> f64) -> ChangeOverOrders {
    let mut all = ChangeOverOrders { mean: 0.0, least: f64::INFINITY, most: f64::NEG_INFINITY };
    for (set, weight) in sets_of_others(causes, cause) {
        let change = value(set | causes[cause]) - value(set);
        all.mean += weight * change;
        all.least = all.least.min(change);
        all.most = all.most.max(change);
    }
    all
}

/// The mean change by one of the `parts` that a cause is made of. All orders inside the cause count the same (Owen, 1977).
pub(super) fn owen(
    causes: &[PropertySet],
    cause: usize,
    (parts, part): (&[PropertySet], usize),
    value: impl Fn(PropertySet) -> f64,
) -> f64 {
    let inside = |set: PropertySet| shapley(parts, part, |some| value(set | some)).mean;
    sets_of_others(causes, cause).map(|(set, weight)| weight * inside(set)).sum()
}

/// The properties of each set of the other causes, and its weight: `|S|! (n - 1 - |S|)! / n!` of `n` causes.
fn sets_of_others(causes: &[PropertySet], cause: usize) -> impl Iterator<Item = (PropertySet, f64)> {
    let count = causes.len();
    (0..1usize << count).filter(move |members| members & (1 << cause) == 0).map(move |members| {
        let inside = (0..count).filter(|member| members & (1 << member) != 0);
        let (size, set) = inside.fold((0, 0), |(size, set), member| (size + 1, set | causes[member]));
        (set, factorial(size) * factorial(count - 1 - size) / factorial(count))
    })
}

fn factorial(of: usize) -> f64 {
    (1..=of).map(|factor| factor as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value with interactions between all properties.
    fn value(set: PropertySet) -> f64 {
        (f64::from(set) * 0.37 + 1.0).ln() + f64::from(set.count_ones()).powi(2)
    }

    #[test]
    fn causes_and_their_parts_add_up_to_the_whole_change() {
        let causes = [0b1, 0b110, 0b1000, 0b110_0000];
        let all = causes.iter().fold(0, |all, cause| all | cause);
        let sum: f64 = (0..causes.len()).map(|cause| shapley(&causes, cause, value).mean).sum();
        assert!((sum - (value(all) - value(0))).abs() < 1e-12, "{sum}");
        let parts = [0b10, 0b100];
        let of_parts: f64 = (0..2).map(|part| owen(&causes, 1, (&parts, part), value)).sum();
        assert!((of_parts - shapley(&causes, 1, value).mean).abs() < 1e-12, "{of_parts}");
    }

    #[test]
    fn a_cause_that_acts_alone_changes_the_same_in_every_order() {
        let change = shapley(&[1, 2, 4], 1, |set| if set & 2 == 2 { 5.0 } else { 3.0 });
        assert_eq!((change.least, change.most), (2.0, 2.0));
        assert!((change.mean - 2.0).abs() < 1e-12);
    }
}
