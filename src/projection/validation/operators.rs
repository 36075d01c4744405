//! Published rates of single matrix products next to the model's.

use serde::Deserialize;

use crate::projection::chip::ChipModel;
use crate::projection::machine::Machine;
use crate::projection::op::{Class, Op};
use crate::projection::ops::Stored;
use crate::projection::parallel_plan::Phase;
use crate::projection::request::Request;
use crate::projection::terms::Term;
use crate::projection::validation::published_row::PublishedRow;
use crate::specs::{Checked, Chip, Fabric, Model, NumberType, Scenario, SpecError};
use crate::units::{Bytes, Flop};

const ROWS: &str = include_str!("../../../specs/validation/operators.toml");

/// One published row.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    quantity: String,
    chip: String,
    #[serde(rename = "type")]
    number_type: NumberType,
    grouped: bool,
    groups: f64,
    /// Rows per group.
    m: f64,
    n: f64,
    k: f64,
    unit: Unit,
    published: f64,
    source: String,
    checked: Checked,
    #[serde(default)]
    fitted: bool,
}

/// What is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Unit {
    /// A rate.
    #[serde(rename = "FLOP/s")]
    FlopPerS,
    /// A share of the peak.
    #[serde(rename = "ratio")]
    Ratio,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rows: Vec<Case>,
}

/// All rows, in the order of the file.
pub fn rows() -> Vec<PublishedRow> {
    // The file is part of the program, and a test loads it.
    let cases = toml::from_str::<File>(ROWS).map_or_else(|_| Vec::new(), |file| file.rows);
    cases.iter().map(row).collect()
}

fn row(case: &Case) -> PublishedRow {
    let answer = case.modelled();
    let unit = if case.unit == Unit::Ratio { "ratio" } else { "FLOP/s" };
    PublishedRow {
        id: case.id.clone(),
        group: "operators".to_owned(),
        quantity: format!("{}: {}", case.chip, case.quantity),
        unit: unit.to_owned(),
        published: case.published,
        upper_bound: false,
        modelled: answer.as_ref().ok().copied(),
        source: case.source.clone(),
        checked: case.checked,
        fitted: case.fitted,
        note: answer.err().unwrap_or_default(),
    }
}

impl Case {
    /// The rate of the product alone, without its launch, on one rank: as the published kernels were timed.
    fn modelled(&self) -> Result<f64, String> {
        let request = self.request()?;
        let machine = Machine::new(&request, Scenario::Nominal).map_err(|reason| reason.to_string())?;
        let rows = self.groups * self.m;
        let result = 2.0;
        let Stored { weight, operand, .. } = machine.widths.in_use;
        let bytes = self.groups * self.k * self.n * weight + rows * (self.k * operand + self.n * result);
        let (flop, bytes) = (Flop::new(2.0 * rows * self.k * self.n), Bytes::new(bytes));
        let (term, class) =
            if self.grouped { (Term::ExpertMatmul, Class::Expert) } else { (Term::Dense, Class::Dense) };
        let op = Op { name: "product", term, class, flop, bytes, peak: 1.0, kernel: None, tabled: None, module: None };
        let rate = flop / machine.busy(&machine.op(&op), 1.0);
        Ok(if self.unit == Unit::Ratio { rate * machine.dies / machine.peak } else { rate.get() })
    }

    fn request(&self) -> Result<Request, String> {
        let text = |error: SpecError| error.to_string();
        // Neither model nor fabric matters to a product.
        let (model, fabric) = (Model::load("deepseek-v3").map_err(text)?, Fabric::load("roce-cluster").map_err(text)?);
        let chip = ChipModel::from_spec(&Chip::load(&self.chip).map_err(text)?);
        Ok(Request { number_type: Some(self.number_type), ..Request::new(model, chip, fabric, 8, Phase::Decode) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::validation::summary;

    #[test]
    fn every_row_of_the_file_is_answered() {
        let file: File = toml::from_str(ROWS).unwrap();
        let rows = rows();
        assert_eq!(rows.len(), file.rows.len());
        assert!(rows.len() >= 30 && rows.iter().all(|row| row.modelled.is_some()), "{rows:#?}");
    }

    #[test]
    fn one_share_of_each_roof_is_within_a_third_of_most_products() {
        let rows = rows();
        let all = summary(&rows);
        assert!(all.mean_absolute < 0.20, "{all:?}");
        let chip = |name: &str| summary(rows.iter().filter(|row| row.quantity.starts_with(name))).mean_absolute;
        assert!(chip("ascend-910c") < 0.05, "{}", chip("ascend-910c"));
        let unseen = summary(rows.iter().filter(|row| !row.fitted));
        assert!(unseen.rows >= 10 && unseen.mean_absolute < 0.30, "{unseen:?}");
    }
}
