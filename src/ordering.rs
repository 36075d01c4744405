//! Things in the order of numbers. All of them share one sort: each that is made for a type of its own adds kilobytes to the
//! module that a page in a browser loads.

/// The items by rising keys, compared from the first number of a key to its last. What is equal keeps its order, and what is
/// no number comes last.
pub(crate) fn by_rising<T>(items: Vec<T>, key: impl Fn(&T) -> [f64; 2]) -> Vec<T> {
    let order = places(items.iter().map(key).collect());
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().filter_map(|place| items[place].take()).collect()
}

/// The places of the keys in rising order.
fn places(keys: Vec<[f64; 2]>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_unstable_by(|&a, &b| {
        let ([first, second], [other_first, other_second]) = (keys[a], keys[b]);
        first.total_cmp(&other_first).then(second.total_cmp(&other_second)).then(a.cmp(&b))
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_number_decides_between_equal_first_ones_and_equals_keep_their_order() {
        let items =
            vec![("d", [2.0, 0.0]), ("b", [1.0, 3.0]), ("a", [1.0, 2.0]), ("c", [1.0, 3.0]), ("e", [f64::NAN, 0.0])];
        let names: Vec<&str> = by_rising(items, |item| item.1).into_iter().map(|item| item.0).collect();
        assert_eq!(names, ["a", "b", "c", "d", "e"]);
    }
}
