//! Files of measured operators.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::CellAlignment::{Left, Right};

use crate::operators::{Imported, TableFacts};
use crate::report::terminal::layout::{paragraph, plain, push_lines, title};
use crate::report::text::clean;

/// Copies that are named; the rest is counted.
const NAMED: usize = 12;

/// What an import took and what it left out.
pub fn imported(imported: &Imported, output: &str) -> String {
    let mut out = String::new();
    let rows: u64 = imported.tables.iter().map(|table| table.rows).sum();
    let _ = writeln!(out, "{}: {} tables, {rows} operators", clean(output), imported.tables.len());
    by_system(&mut out, &imported.tables);
    if !imported.copies.is_empty() {
        title(&mut out, "left out as copies: every time is that of another system");
        for (copy, of) in imported.copies.iter().take(NAMED) {
            let _ = writeln!(out, "  {}\n    is {}", clean(copy), clean(of));
        }
        if let Some(more) = imported.copies.len().checked_sub(NAMED + 1) {
            let _ = writeln!(out, "  and {} more", more + 1);
        }
    }
    let _ = writeln!(out);
    paragraph(
        &mut out,
        "",
        &format!(
            "Left out besides: {} files of operators that the model has no use for, and {} rows of other types, with a cached \
             prefix, of other collectives or of experts without a gate.",
            imported.unused_files, imported.unused_rows
        ),
    );
    out
}

/// The tables of a file by system and framework.
pub fn listed(tables: &[TableFacts]) -> String {
    let mut out = String::new();
    by_system(&mut out, tables);
    out
}

fn by_system(out: &mut String, tables: &[TableFacts]) {
    let mut groups: BTreeMap<(&str, &str), Vec<&TableFacts>> = BTreeMap::new();
    for table in tables {
        groups.entry((&table.system, &table.framework)).or_default().push(table);
    }
    let mut list = plain(&[Left, Left, Left, Right, Left]);
    list.set_header(["system", "framework", "versions", "operators", "families"]);
    for ((system, framework), tables) in groups {
        let mut versions: Vec<&str> = tables.iter().map(|table| table.version.as_str()).collect();
        versions.sort_unstable();
        versions.dedup();
        let mut families: Vec<&str> = tables.iter().map(|table| table.family.name()).collect();
        families.sort_unstable();
        families.dedup();
        let count: u64 = tables.iter().map(|table| table.rows).sum();
        let versions = match versions.len() {
            1 => clean(versions[0]),
            count => format!("{count} versions"),
        };
        list.add_row([clean(system), clean(framework), versions, count.to_string(), families.join(", ")]);
    }
    push_lines(out, &list);
}
