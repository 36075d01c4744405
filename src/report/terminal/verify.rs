//! Every kernel variant against its CPU twin, as a table for a terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{Table, presets};
use serde::Serialize;

use crate::kernels::{Family, StorageType, Verification};
use crate::record::Device;
use crate::report::terminal::layout::align_right;
use crate::statistics::upper_median;

/// One compared case. Its JSON is what `supernode verify --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifiedCase {
    /// The case.
    pub id: String,
    /// Whether the result was right.
    pub passed: bool,
    /// Why there is no comparison, or what was wrong.
    pub problem: Option<String>,
    /// Whether the device lacks what the case needs: then it is neither right nor wrong.
    pub left_out: bool,
    /// The comparison, where there is one.
    pub verification: Option<Verification>,
    /// Relative Frobenius error against f64 on the operands before they were quantised.
    pub error_of_type: Option<f64>,
    /// Family of the kernel.
    #[serde(skip)]
    pub family: Family,
    /// Storage type of the operands.
    #[serde(skip)]
    pub element: StorageType,
}

/// A line for each case; then what was wrong, the accuracy of each type, and the counts.
pub fn verified(device: &Device, cases: &[VerifiedCase]) -> String {
    let mut text = format!("{}\n", table(cases));
    for case in cases.iter().filter(|case| !case.left_out) {
        if let Some(problem) = &case.problem {
            let _ = writeln!(text, "{}: {problem}", case.id);
        }
    }
    text += &accuracies(cases);
    let passed = cases.iter().filter(|case| case.passed).count();
    let left_out = cases.iter().filter(|case| case.left_out).count();
    let (all, name, driver) = (cases.len(), &device.name, &device.driver_info);
    let _ = writeln!(text, "{passed} of {all} cases right on {name} ({driver}), {left_out} left out");
    text
}

fn table(cases: &[VerifiedCase]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["", "case", "error", "tolerance", "checked"]);
    align_right(&mut table, &[2, 3, 4]);
    for case in cases {
        let mark = match (case.left_out, case.passed) {
            (true, _) => "-",
            (false, true) => "ok",
            (false, false) => "WRONG",
        };
        let (error, tolerance, checked) = case.verification.as_ref().map_or_else(Default::default, |v| {
            (format!("{:.1e}", v.value), format!("{:.1e}", v.tolerance), v.checked.to_string())
        });
        table.add_row([mark.to_owned(), case.id.clone(), error, tolerance, checked]);
    }
    table
}

/// What each type costs: the median error over the right cases of a family.
fn accuracies(cases: &[VerifiedCase]) -> String {
    let mut errors: BTreeMap<(Family, StorageType), Vec<f64>> = BTreeMap::new();
    for case in cases.iter().filter(|case| case.passed) {
        errors.entry((case.family, case.element)).or_default().extend(case.error_of_type);
    }
    let mut families: BTreeMap<Family, Vec<String>> = BTreeMap::new();
    for ((family, element), mut errors) in errors {
        errors.sort_unstable_by(f64::total_cmp);
        if let Some(median) = upper_median(&errors) {
            families.entry(family).or_default().push(format!("{element} {median:.1e}"));
        }
    }
    families.iter().fold(String::new(), |text, (family, types)| {
        text + &format!("accuracy of {family} against f64 before quantisation (median): {}\n", types.join(", "))
    })
}
