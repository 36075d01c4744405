//! What a system draws, how many tokens a joule gives, and what a million of them cost.
//!
//! The power of a chip with its share of the system is a product of three figures: the package at most, the system over
//! its packages, and the share of the maximum that is drawn in use. They are independent of each other and of the
//! throughput. On a logarithmic scale their bands therefore add in squares. What the building needs for cooling is not
//! counted.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::projection::chip::ChipModel;
use crate::projection::result::{CostSource, Interval};
use crate::specs::{Fabric, Sourced};

/// Joules of a kilowatt-hour.
const JOULES_PER_KWH: f64 = 3.6e6;
const SECONDS_PER_HOUR: f64 = 3600.0;
const MILLION: f64 = 1e6;

/// The share of the maximum that a system draws while it computes tokens.
fn share_in_use() -> Sourced {
    let source = "no curve over the load is published; DGX H100 typically draws 6.5 to 8.5 of at most 10.2 kW \
                  (supercluster.blog, part 6)";
    Sourced::assumed(0.8, 0.64, 1.0, source)
}

/// The power of a chip with its share of the system, while it computes.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemPower {
    /// Watts per package.
    pub w_per_chip: Interval,
    /// The figures behind it.
    pub sources: Vec<CostSource>,
}

/// Why there is no power, hence no energy. Its text is made by `Display`; JSON holds that text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PowerUnknown {
    /// Nothing says what this chip draws.
    Chip(String),
    /// Nothing says what stands beside the chips on this fabric.
    Fabric(String),
}

impl fmt::Display for PowerUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chip(chip) => write!(f, "nothing says what {chip} draws: a chip's file may have power_w"),
            Self::Fabric(fabric) => {
                write!(
                    f,
                    "nothing says what {fabric} draws beside its chips: a fabric's file may have power_over_chips"
                )
            }
        }
    }
}

impl Serialize for PowerUnknown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl SystemPower {
    /// What a chip draws on a fabric, its share of the system included.
    ///
    /// # Errors
    /// [`PowerUnknown`] where the chip or the fabric says nothing of it.
    pub fn of(chip: &ChipModel, fabric: &Fabric) -> Result<Self, PowerUnknown> {
        let package = chip.power.as_ref().ok_or_else(|| PowerUnknown::Chip(chip.name.clone()))?;
        let ratio = fabric.power_over_chips.as_ref().ok_or_else(|| PowerUnknown::Fabric(fabric.name.clone()))?;
        let share = share_in_use();
        let sources = [
            ("power of a package", watts(package), package),
            ("power of the system over its packages", plain(ratio), ratio),
            ("power in use over the maximum", plain(&share), &share),
        ];
        Ok(Self {
            w_per_chip: product(&[package, ratio, &share].map(whole_band)),
            sources: sources
                .map(|(what, value, sourced)| CostSource {
                    what: what.to_owned(),
                    value,
                    provenance: sourced.provenance,
                    source: sourced.source_with_mark(),
                })
                .into(),
        })
    }
}

/// What the user pays, in any currency.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Prices {
    /// A chip with its share of the system, per hour.
    pub chip_hour: Option<f64>,
    /// A kilowatt-hour.
    pub kwh: Option<f64>,
}

/// What tokens draw and cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenCosts {
    /// Power of a chip with its share of the system, watts.
    pub power_w_per_chip: Option<Interval>,
    /// Tokens that a joule gives.
    pub tokens_per_joule: Option<Interval>,
    /// Cost of a million tokens in the currency of the prices; `None` without a price, or with one of energy where the
    /// power is unknown.
    pub cost_per_million_tokens: Option<Interval>,
    /// Why there is no energy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_left_out: Option<PowerUnknown>,
}

impl Prices {
    /// Whether there is a price.
    pub const fn are_given(&self) -> bool {
        self.chip_hour.is_some() || self.kwh.is_some()
    }

    /// What tokens draw and cost at so many of them per second and chip.
    pub fn costs(&self, tokens_per_s_per_chip: &Interval, power: &Result<SystemPower, PowerUnknown>) -> TokenCosts {
        let seconds_per_token = inverse(tokens_per_s_per_chip);
        let watts = power.as_ref().ok().map(|power| power.w_per_chip);
        let per_second = self.per_chip_second(watts);
        TokenCosts {
            power_w_per_chip: watts,
            tokens_per_joule: watts.map(|watts| product(&[*tokens_per_s_per_chip, inverse(&watts)])),
            cost_per_million_tokens: per_second.map(|cost| scaled(&product(&[cost, seconds_per_token]), MILLION)),
            energy_left_out: power.as_ref().err().cloned(),
        }
    }

    /// What a chip costs per second.
    fn per_chip_second(&self, watts: Option<Interval>) -> Option<Interval> {
        let hire = self.chip_hour.map(|price| price / SECONDS_PER_HOUR);
        let Some(per_kwh) = self.kwh else { return hire.map(Interval::exactly) };
        let energy = scaled(&watts?, per_kwh / JOULES_PER_KWH);
        let hire = hire.unwrap_or(0.0);
        Some(Interval { median: hire + energy.median, low: hire + energy.low, high: hire + energy.high })
    }
}

fn whole_band(value: &Sourced) -> Interval {
    let Sourced { value: median, low, high, .. } = value;
    Interval { median: *median, low: low.unwrap_or(*median), high: high.unwrap_or(*median) }
}

fn scaled(value: &Interval, factor: f64) -> Interval {
    Interval { median: value.median * factor, low: value.low * factor, high: value.high * factor }
}

fn inverse(value: &Interval) -> Interval {
    Interval { median: 1.0 / value.median, low: 1.0 / value.high, high: 1.0 / value.low }
}

/// The product of independent figures above 0. The distances of their ends add in squares on a logarithmic scale.
fn product(factors: &[Interval]) -> Interval {
    let median: f64 = factors.iter().map(|factor| factor.median).product();
    let reach = |end: fn(&Interval) -> f64| {
        let squares = factors.iter().map(|factor| (end(factor) / factor.median).ln().powi(2));
        squares.sum::<f64>().sqrt().exp()
    };
    Interval { median, low: median / reach(|factor| factor.low), high: median * reach(|factor| factor.high) }
}

fn watts(value: &Sourced) -> String {
    shown(value, |watts| format!("{watts:.0} W"))
}

fn plain(value: &Sourced) -> String {
    shown(value, |ratio| format!("{ratio:.2}"))
}

fn shown(value: &Sourced, text: impl Fn(f64) -> String) -> String {
    let Interval { median, low, high } = whole_band(value);
    let band = if low < high { format!(" ({} to {})", text(low), text(high)) } else { String::new() };
    format!("{}{band}", text(median))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specs::Chip;

    fn power(chip: &str, fabric: &str) -> Result<SystemPower, PowerUnknown> {
        SystemPower::of(&ChipModel::from_spec(&Chip::load(chip).unwrap()), &Fabric::load(fabric).unwrap())
    }

    /// At most, without the share in use.
    fn kilowatts(chip: &str, fabric: &str, chips: f64) -> f64 {
        power(chip, fabric).unwrap().w_per_chip.median / share_in_use().value * chips / 1e3
    }

    #[test]
    fn whole_systems_draw_what_is_published_of_them() {
        for (chip, fabric, chips, published) in [
            ("ascend-910c", "cloudmatrix384", 384.0, 559.0),
            ("gb200", "nvl72", 72.0, 145.0),
            ("h100", "hgx-400g", 8.0, 10.2),
            ("h200", "hgx-400g", 8.0, 10.2),
            ("b200", "hgx-400g", 8.0, 14.3),
        ] {
            let modelled = kilowatts(chip, fabric, chips);
            assert!((modelled / published - 1.0).abs() < 0.02, "{chip}: {modelled} of {published} kW");
        }
    }

    #[test]
    fn every_built_in_chip_says_what_it_draws() {
        for name in Chip::builtin_names() {
            assert!(power(name, "hgx-400g").is_ok(), "{name}");
        }
        assert_eq!(power("h100", "ub-mesh-pod"), Err(PowerUnknown::Fabric("ub-mesh-pod".to_owned())));
    }

    #[test]
    fn bands_of_independent_figures_add_in_squares() {
        let twofold = Interval { median: 10.0, low: 5.0, high: 20.0 };
        assert_eq!(product(&[twofold, Interval::exactly(3.0)]), Interval { median: 30.0, low: 15.0, high: 60.0 });
        let both = product(&[twofold, twofold]);
        let factor = (2.0_f64.sqrt() * 2.0_f64.ln()).exp();
        assert!((both.high / 100.0 - factor).abs() < 1e-12 && (100.0 / both.low - factor).abs() < 1e-12, "{both:?}");
    }

    #[test]
    fn a_million_tokens_cost_the_hire_and_the_energy_of_their_time() {
        let power = Ok(SystemPower { w_per_chip: Interval::exactly(1000.0), sources: Vec::new() });
        let rate = Interval { median: 1000.0, low: 500.0, high: 2000.0 };
        let costs = |chip_hour, kwh| Prices { chip_hour, kwh }.costs(&rate, &power);
        // A million tokens take 1000 s of a chip: 3.6 an hour are 1, and 1 MJ at 0.36 per kWh is 0.1.
        let both = costs(Some(3.6), Some(0.36)).cost_per_million_tokens.unwrap();
        assert!((both.median - 1.1).abs() < 1e-12 && (both.low - 0.55).abs() < 1e-12, "{both:?}");
        assert!((both.high - 2.2).abs() < 1e-12, "{both:?}");
        let energy = costs(None, Some(0.36));
        assert!((energy.cost_per_million_tokens.unwrap().median - 0.1).abs() < 1e-12);
        assert_eq!(energy.tokens_per_joule.unwrap().median, 1.0);
        assert_eq!(costs(None, None).cost_per_million_tokens, None);
    }

    #[test]
    fn a_price_of_energy_without_a_power_gives_no_cost() {
        let unknown = Err(PowerUnknown::Chip("mine".to_owned()));
        let rate = Interval::exactly(1000.0);
        let both = Prices { chip_hour: Some(3.6), kwh: Some(0.1) }.costs(&rate, &unknown);
        assert_eq!(both.cost_per_million_tokens, None);
        assert!(both.energy_left_out.unwrap().to_string().contains("mine"));
        let hire = Prices { chip_hour: Some(3.6), kwh: None }.costs(&rate, &unknown);
        assert!((hire.cost_per_million_tokens.unwrap().median - 1.0).abs() < 1e-12);
    }
}
