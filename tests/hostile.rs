//! Whatever a stranger writes into a record is shown as text: in a terminal, a spreadsheet, Markdown, HTML and a scrape.
//!
//! The reader refuses most of this already; these tests go round it, so that each output holds on its own.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;
mod openmetrics;

use supernode_bench::record::{LeftOut, Record, Rejected};
use supernode_bench::report::{self, Page, compare, export, terminal};

const HOSTILE: [&str; 12] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "\u{1b}]0;owned\u{7}\u{1b}[2J",
    "\u{9b}31mred",
    "=HYPERLINK(\"http://x\",\"y\")",
    "+cmd|' /C calc'!A0",
    "@SUM(1)\t=2",
    "a|b`c`\n# heading\n| x |",
    "[click](javascript:alert(1)) ![i](http://x/i.png)",
    "\u{202e}gnp.exe",
    "quote\" back\\slash\nline",
    "}\n# EOF\nfake{a=\"b\"} 1",
];

/// A record whose every text is this one.
fn poisoned(text: &str) -> Record {
    let mut record = fixture::record(text, &fixture::FAST);
    let device = &mut record.device;
    for field in [&mut device.vendor, &mut device.driver, &mut device.driver_info, &mut device.backend] {
        *field = text.to_owned();
    }
    device.features = vec![text.to_owned()];
    record.tool.name = text.to_owned();
    record.tool.version = text.to_owned();
    record.tool.git_commit = Some(text.to_owned());
    record.host.os = text.to_owned();
    record.host.cpu = text.to_owned();
    record.protocol.preset_reason = text.to_owned();
    for (i, case) in record.cases.iter_mut().enumerate() {
        case.id = format!("{text}{i}");
        case.kernel = text.to_owned();
        case.variant = format!("{text}{i}");
        case.model = text.to_owned();
        case.shape = [(text.to_owned(), 1)].into();
    }
    record.left_out = vec![LeftOut { id: format!("{text} left"), reason: text.to_owned() }];
    record.rejected = vec![Rejected { id: format!("{text} wrong"), reason: text.to_owned(), verification: None }];
    record
}

/// The record, one that lacks some of its cases, and what `compare` says of the two.
fn compared(text: &str) -> (Record, compare::RecordComparison) {
    let record = poisoned(text);
    let mut other = record.clone();
    other.device.driver = format!("{text} 2");
    let gone: Vec<String> = other.cases.split_off(10).into_iter().map(|case| case.id).collect();
    other.left_out.extend(gone.into_iter().map(|id| LeftOut { id, reason: text.to_owned() }));
    let comparison = compare::compare((text, &record), &[(text, &other)]);
    (record, comparison)
}

fn unstyled(text: &str) -> String {
    text.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "")
}

fn assert_tame(text: &str, origin: &str) {
    let wild = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(wild), "{origin:?} steers the output: {text:?}");
}

#[test]
fn no_text_steers_a_terminal() {
    for text in HOSTILE {
        let (record, comparison) = compared(text);
        assert_tame(&unstyled(&terminal::table(&record)), text);
        assert_tame(&unstyled(&compare::text(&comparison)), text);
    }
}

#[test]
fn no_text_becomes_markup_in_a_page() {
    let foreign = |page: &str| page.matches("<script").count() + page.matches("<img").count();
    for text in HOSTILE {
        let (record, comparison) = compared(text);
        // The report has four scripts of its own: its data, the record, the charting library and what calls it.
        let report = report::page(&Page { records: &[record], ..Page::default() });
        for (page, own) in [(compare::html(&comparison), 0), (report, 4)] {
            assert_eq!(foreign(&page), own, "{text:?}");
            assert!(!page.contains("javascript:alert(1)\""), "{text:?}");
            assert_tame(page.split("<script").next().unwrap_or_default(), text);
        }
    }
}

#[test]
fn no_text_becomes_markup_in_markdown() {
    for text in HOSTILE {
        let (_, comparison) = compared(text);
        let markdown = compare::markdown(&comparison);
        assert_tame(&markdown, text);
        let ours = markdown.replace("<details><summary>", "").replace("</summary>", "").replace("</details>", "");
        assert!(
            !ours.contains('<') && !ours.contains("http:") && !ours.contains("](") && !ours.contains("@"),
            "{ours}"
        );
        // Each table keeps its columns: as many unescaped bars in a row as in the line of dashes above it.
        let bars = |line: &str| line.replace("\\|", "").matches('|').count();
        let mut columns = 0;
        for line in markdown.lines() {
            match line {
                line if line.starts_with("|--") => columns = bars(line),
                line if line.starts_with('|') && columns > 0 => assert_eq!(bars(line), columns, "{line}"),
                line if !line.starts_with('|') => columns = 0,
                _ => {}
            }
        }
    }
}

#[test]
fn no_cell_of_a_csv_is_a_formula() {
    for text in HOSTILE {
        let (record, comparison) = compared(text);
        let sheets = [compare::csv(&comparison).unwrap(), export::csv(&[(text.to_owned(), record)]).unwrap()];
        for sheet in sheets {
            let mut reader = csv::Reader::from_reader(sheet.as_bytes());
            let mut rows = 0;
            for row in reader.records() {
                for cell in &row.unwrap() {
                    assert!(!cell.trim_start().starts_with(['=', '+', '-', '@', '|']), "{cell:?}");
                    assert_tame(cell, text);
                }
                rows += 1;
            }
            assert!(rows >= 20, "{rows} rows");
        }
    }
}

#[test]
fn no_text_breaks_a_scrape_or_a_line_of_json() {
    for text in HOSTILE {
        let records = [(text.to_owned(), poisoned(text))];
        let series =
            openmetrics::check(&export::openmetrics(&records)).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert!(series > 30, "{series}");
        let lines = export::jsonl(&records).unwrap();
        assert_eq!(lines.lines().count(), 20);
        for line in lines.lines() {
            let _: serde_json::Value = serde_json::from_str(line).unwrap();
        }
    }
}

#[test]
fn no_text_leaves_the_folder_of_an_export() {
    for text in HOSTILE.iter().chain(&["../../../etc/passwd", "..", "/", "C:\\x"]) {
        let files = export::criterion(&poisoned(text), text);
        assert_eq!(files.len(), 60, "{text:?}: each case has its three files");
        let mut paths: Vec<_> = files.iter().map(|file| &file.path).collect();
        for path in &paths {
            assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{path:?}");
            assert_eq!(path.components().count(), 4, "{path:?}");
        }
        paths.dedup();
        assert_eq!(paths.len(), 60, "{text:?}: no file takes another's place");
    }
}
