//! How text and tables are laid out on a terminal: at most 100 columns wide, or as many as the terminal has; bold on a
//! terminal and plain in a pipe.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use anstyle::Style;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use textwrap::{Options, WordSplitter};

use crate::report::text::short;

pub(super) const BOLD: Style = Style::new().bold();
/// Where prose wraps, and the widest that a table may get.
const COLUMNS: usize = 100;
/// Columns of the terminal that is written to; 0 where output is no terminal, and lines keep their length.
static TERMINAL: AtomicUsize = AtomicUsize::new(0);
/// A terminal narrower than this is treated as one of this width.
const NARROWEST: usize = 40;

/// Fits tables and prose to a terminal of so many columns from now on.
pub fn fit_to(columns: usize) {
    TERMINAL.store(columns.max(NARROWEST), Ordering::Relaxed);
}

/// Columns of the terminal, if it is one.
fn terminal() -> Option<usize> {
    Some(TERMINAL.load(Ordering::Relaxed)).filter(|columns| *columns > 0)
}

/// Whether the terminal has fewer columns than a table may get.
pub(in crate::report) fn is_narrow() -> bool {
    terminal().is_some_and(|columns| columns < COLUMNS)
}

/// Moves the columns of a table together where the terminal is narrow, and lets cells wrap where that is not enough.
pub(in crate::report) fn fit(table: &mut Table) {
    if is_narrow() {
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 1));
        });
    }
    if let Some(columns) = terminal().and_then(|columns| u16::try_from(columns - 2).ok()) {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    }
}

/// Leaves columns out where the terminal is narrow.
pub(in crate::report) fn hide_where_narrow(table: &mut Table, columns: &[usize]) {
    for index in columns.iter().filter(|_| is_narrow()) {
        if let Some(column) = table.column_mut(*index) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
    }
}

/// Columns of the longest bar: `most`, or what the terminal leaves next to `words` columns of text.
pub(super) fn bar_width(most: usize, words: usize) -> usize {
    terminal().map_or(most, |columns| most.min(columns.saturating_sub(words).max(8)))
}

/// Text whose lines fit the terminal. A longer line goes on below, two columns further in.
fn folded(text: &str) -> Cow<'_, str> {
    let Some(columns) = terminal() else { return text.into() };
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let body = line.trim_end_matches('\n');
        if textwrap::core::display_width(body) <= columns {
            out.push_str(line);
            continue;
        }
        let indent = " ".repeat((body.len() - body.trim_start().len()).min(columns / 2) + 2);
        out.push_str(&wrapped("", &indent, body, columns));
        out.push_str(&line[body.len()..]);
    }
    out.into()
}

/// Writes to standard output, without styles where it is no terminal or `NO_COLOR` is set. A reader that left early
/// (`| head`) has what it wanted.
///
/// # Errors
/// Any but the closed pipe.
pub fn print(text: &str) -> io::Result<()> {
    match anstream::stdout().lock().write_all(folded(text).as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// A heading after a blank line.
pub(in crate::report) fn title(out: &mut String, text: &str) {
    let _ = writeln!(out, "\n{BOLD}{text}{BOLD:#}");
}

/// A paragraph that begins with `mark`; its other lines are indented by four columns.
pub(in crate::report) fn paragraph(out: &mut String, mark: &str, text: &str) {
    let columns = terminal().map_or(COLUMNS, |columns| columns.min(COLUMNS));
    let _ = writeln!(out, "{}", wrapped(mark, "    ", text, columns));
}

/// Text in lines of at most so many columns. `head` precedes the first line, `below` every other. A word that is longer
/// than a line stays whole, and so does a version number.
pub(in crate::report) fn wrapped(head: &str, below: &str, text: &str, columns: usize) -> String {
    let options = Options::new(columns).initial_indent(head).subsequent_indent(below).break_words(false);
    textwrap::fill(text, options.word_splitter(WordSplitter::NoHyphenation))
}

/// A table without lines or heads, whose columns are aligned as given.
pub(in crate::report) fn plain(alignments: &[CellAlignment]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(vec![""; alignments.len()]);
    for (column, alignment) in table.column_iter_mut().zip(alignments) {
        column.set_cell_alignment(*alignment);
        column.set_padding((0, 2));
    }
    fit(&mut table);
    table
}

/// A table without lines, with heads at the left of their columns.
pub(in crate::report) fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(Cell::new));
    fit(&mut table);
    table
}

/// Aligns the columns of these indices at the right.
pub(in crate::report) fn align_right(table: &mut Table, columns: &[usize]) {
    for index in columns {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Appends the lines of a table, indented by two.
pub(in crate::report) fn push_lines(out: &mut String, table: &Table) {
    for line in table.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()) {
        let _ = writeln!(out, "  {line}");
    }
}

/// The lines of a table, one a row, with headings between them; each group is a heading and its count of rows.
pub(in crate::report) fn push_grouped(out: &mut String, mut table: Table, groups: &[(&str, usize)]) {
    table.set_content_arrangement(ContentArrangement::Disabled);
    let mut lines = table.lines().map(|line| line.trim_end().to_owned());
    let _ = writeln!(out, "{BOLD}{}{BOLD:#}", lines.next().unwrap_or_default());
    for (heading, rows) in groups {
        let _ = writeln!(out, "{}", short(heading, COLUMNS));
        for line in lines.by_ref().take(*rows) {
            let _ = writeln!(out, "{line}");
        }
    }
}
