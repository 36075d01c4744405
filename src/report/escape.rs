//! A stranger's text in formats that would act on it, and CSV as text.

use crate::report::text::clean;

/// Text for a cell of CSV: a spreadsheet takes what begins with one of these for a formula and runs it, so such text gets
/// an apostrophe in front (OWASP, "CSV Injection"). Quoting is the writer's work.
pub(super) fn spreadsheet_safe(text: &str) -> String {
    let text = clean(text);
    let begins = text.trim_start().chars().next();
    let acts = begins.is_some_and(|c| "=+-@|\u{ff1d}\u{ff0b}\u{ff0d}\u{ff20}".contains(c));
    if acts { format!("'{text}") } else { text }
}

/// A header and rows as CSV (RFC 4180).
///
/// # Errors
/// None in practice: the text is built in memory.
pub(super) fn csv_text<'a, Row>(
    header: &'a [&'a str],
    rows: impl IntoIterator<Item = Row>,
) -> Result<String, csv::Error>
where
    Row: IntoIterator<Item = String>,
{
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        writer.write_record(row)?;
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(std::io::Error::other(error.to_string())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Text for a cell of a Markdown table: shown as it is, without links, mentions, images, HTML or a new column.
pub(super) fn markdown_safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // A mention notifies people, and a bare address becomes a link.
            '@' => out.push_str("&#64;"),
            ':' => out.push_str("&#58;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '|' | '!' | '~' | '#' | '$' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out.replace("www.", "www&#46;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_would_be_a_formula_gets_an_apostrophe() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "|cmd", "\u{ff1d}1"] {
            assert!(spreadsheet_safe(text).starts_with('\''), "{text:?}");
        }
        assert_eq!(spreadsheet_safe("a=b"), "a=b");
        assert_eq!(spreadsheet_safe(""), "");
    }

    #[test]
    fn markdown_shows_markup_as_text() {
        assert_eq!(
            markdown_safe("<b>|[x](http://y) @someone www.z"),
            "&lt;b&gt;\\|\\[x\\]\\(http&#58;//y\\) &#64;someone www&#46;z"
        );
    }
}
