//! Text of strangers, fit for a terminal.

/// `text` without what could steer a terminal or reorder a line (control and bidirectional characters become blanks),
/// cut to `limit` characters.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    let mut shown: String = text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).take(limit).collect();
    if text.chars().nth(limit).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Whether a character steers a terminal, ends a line, reorders one or is not seen at all.
pub(crate) fn is_unprintable(c: char) -> bool {
    let bidirectional =
        matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || bidirectional || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}
