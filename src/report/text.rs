//! A stranger's text, fit to be shown.

use crate::printable::printable;

/// `text` without control characters, at most 300 characters of it.
pub(super) fn clean(text: &str) -> String {
    printable(text, 300)
}

/// The same, cut to `limit` characters with an ellipsis at the end.
pub(super) fn short(text: &str, limit: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= limit {
        return text;
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

/// The items, each once, in the order of their first occurrence.
pub(super) fn distinct<'a, T: PartialEq>(items: impl IntoIterator<Item = &'a T>) -> Vec<&'a T> {
    let mut list: Vec<&T> = Vec::new();
    for item in items {
        if !list.contains(&item) {
            list.push(item);
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_with_an_ellipsis_and_steers_no_terminal() {
        assert_eq!(short("gate_up_and_down", 8), "gate_up…");
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c"), "a [31mb c");
    }
}
