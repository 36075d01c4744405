//! The comparison as CSV.

use crate::report::compare::comparison::{ComparedRecord, RecordComparison, Speedup};
use crate::report::compare::differences::Missing;
use crate::report::compare::ratio::RatioVerdict;
use crate::report::escape::{csv_text, spreadsheet_safe};

/// One line of the file: a pair of cases, or a case that one side lacks.
#[derive(Default)]
struct Line {
    comparison: &'static str,
    /// File and device of the base, then of the other document.
    sides: [String; 4],
    id: String,
    /// Family, kernel, type, setting, variant of the base and of the other.
    case: [String; 6],
    /// Median times, then the ratio with the ends of its interval.
    figures: [String; 5],
    /// The verdict on the ratio, or the reason why a side lacks the case.
    verdict: String,
    /// Of the base and of the other.
    fractions_of_roofline: [String; 2],
}

impl Line {
    const HEADER: [&str; 20] = [
        "comparison",
        "base_file",
        "base_device",
        "other_file",
        "other_device",
        "id",
        "family",
        "kernel",
        "element",
        "setting",
        "base_variant",
        "other_variant",
        "base_s",
        "other_s",
        "speedup",
        "low",
        "high",
        "verdict",
        "base_fraction_of_roofline",
        "other_fraction_of_roofline",
    ];

    fn cells(self) -> impl Iterator<Item = String> {
        let Self { comparison, sides, id, case, figures, verdict, fractions_of_roofline } = self;
        let texts = [comparison.to_owned()].into_iter().chain(sides).chain([id]).chain(case);
        texts.chain(figures).chain([verdict]).chain(fractions_of_roofline)
    }
}

/// All pairs and all missing cases, one per line (RFC 4180). The column `comparison` is `best_variant`, `same_variant`,
/// `only_in_base` or `only_in_other`; an unbounded end is empty. Of a missing case, the column `verdict` has the reason.
///
/// # Errors
/// None in practice: the text is built in memory.
pub fn csv(comparison: &RecordComparison) -> Result<String, csv::Error> {
    let base = &comparison.base;
    let mut lines = Vec::new();
    for against in &comparison.against {
        let other = &against.other;
        for (kind, pairs) in [("best_variant", &against.best), ("same_variant", &against.cases)] {
            lines.extend(pairs.iter().map(|pair| Line {
                comparison: kind,
                sides: sides(base, other),
                ..of_pair(pair)
            }));
        }
        for (kind, missing) in [("only_in_base", &against.only_in_base), ("only_in_other", &against.only_in_other)] {
            let line = |case| Line { comparison: kind, sides: sides(base, other), ..of_missing(case) };
            lines.extend(missing.iter().map(line));
        }
    }
    csv_text(&Line::HEADER, lines.into_iter().map(Line::cells))
}

fn sides(base: &ComparedRecord, other: &ComparedRecord) -> [String; 4] {
    [&base.file, &base.device, &other.file, &other.device].map(|text| spreadsheet_safe(text))
}

fn of_pair(pair: &Speedup) -> Line {
    let family = pair.family.to_string();
    let case = [&family, &pair.kernel, &pair.element, &pair.setting, &pair.base_variant, &pair.other_variant];
    let verdict = match pair.ratio.verdict {
        RatioVerdict::Faster => "faster",
        RatioVerdict::Slower => "slower",
        RatioVerdict::NoDifferenceShown => "no_difference_shown",
    };
    Line {
        id: spreadsheet_safe(&pair.id),
        case: case.map(|text| spreadsheet_safe(text)),
        figures: [
            pair.base_s.get().to_string(),
            pair.other_s.get().to_string(),
            pair.ratio.speedup.to_string(),
            pair.ratio.low.to_string(),
            pair.ratio.high.map_or(String::new(), |high| high.to_string()),
        ],
        verdict: verdict.to_owned(),
        fractions_of_roofline: [pair.base_fraction, pair.other_fraction].map(|fraction| fraction.to_string()),
        ..Line::default()
    }
}

fn of_missing(case: &Missing) -> Line {
    Line { id: spreadsheet_safe(&case.id), verdict: spreadsheet_safe(&case.why), ..Line::default() }
}
