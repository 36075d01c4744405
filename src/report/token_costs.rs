//! Energy and cost of tokens beside the answers that they belong to, for tables and JSON.

use serde::Serialize;

use crate::projection::{CostSource, Interval, PowerUnknown, Prices, ScoredPlan, Search, SystemPower, TokenCosts};
use crate::report::numbers::{four_digits, grouped_digits, low_to_high};
use crate::report::shown::ShownFigure;

/// An answer with what its tokens draw and cost: the fields of both.
#[derive(Debug, Serialize)]
pub struct WithCosts<'a, T> {
    #[serde(flatten)]
    answer: &'a T,
    #[serde(flatten)]
    costs: TokenCosts,
}

/// The plans that a search found, with what their tokens draw and cost.
#[derive(Debug, Serialize)]
pub struct SearchWithCosts<'a> {
    plans: usize,
    fit: usize,
    front: Vec<WithCosts<'a, ScoredPlan>>,
}

impl<'a, T> WithCosts<'a, T> {
    /// An answer and its costs.
    pub const fn new(answer: &'a T, costs: TokenCosts) -> Self {
        Self { answer, costs }
    }
}

/// What a user pays, and what the system draws of which tokens are asked.
#[derive(Debug)]
pub struct CostQuestion {
    /// The prices that are given.
    pub prices: Prices,
    /// The power of a chip with its share of the system.
    pub power: Result<SystemPower, PowerUnknown>,
}

impl CostQuestion {
    /// What tokens draw and cost at this throughput of a chip, whose interval is not known.
    pub fn at(&self, tokens_per_s_per_chip: f64) -> TokenCosts {
        self.over(&Interval::exactly(tokens_per_s_per_chip))
    }

    /// What tokens draw and cost over an interval of the throughput of a chip.
    pub fn over(&self, tokens_per_s_per_chip: &Interval) -> TokenCosts {
        self.prices.costs(tokens_per_s_per_chip, &self.power)
    }

    /// The figures of the power; none where it is not known.
    pub fn sources(&self) -> &[CostSource] {
        self.power.as_ref().map_or(&[], |power| &power.sources)
    }

    /// The answers of a front with their costs, as JSON.
    pub fn beside<'a, T>(&self, front: &'a [T], rate: impl Fn(&T) -> f64) -> Vec<WithCosts<'a, T>> {
        front.iter().map(|point| WithCosts::new(point, self.at(rate(point)))).collect()
    }

    /// A search with its costs, as JSON.
    pub fn beside_search<'a>(&self, found: &'a Search) -> SearchWithCosts<'a> {
        let front = self.beside(&found.front, |plan| plan.tokens_per_s_per_chip);
        SearchWithCosts { plans: found.plans, fit: found.fit, front }
    }

    /// Heads of the columns that a table has of costs.
    pub(super) fn heads(&self) -> Vec<&'static str> {
        let joule = self.power.is_ok().then_some("tok/J");
        joule.into_iter().chain(self.prices.are_given().then_some("cost/M")).collect()
    }

    /// The cells under these heads.
    pub(super) fn cells(&self, costs: &TokenCosts) -> Vec<String> {
        let shown = |value: Option<Interval>| value.map_or_else(|| "-".to_owned(), |value| four_digits(value.median));
        let joule = self.power.is_ok().then(|| shown(costs.tokens_per_joule));
        let cost = self.prices.are_given().then(|| shown(costs.cost_per_million_tokens));
        joule.into_iter().chain(cost).collect()
    }
}

/// The lines of one answer: a name and a figure.
pub(super) fn lines(costs: &TokenCosts, prices: &Prices) -> Vec<(&'static str, String)> {
    let with_band = |value: &Interval| format!("{} ({})", four_digits(value.median), low_to_high(value));
    let mut lines = Vec::new();
    if let (Some(watts), Some(tokens)) = (&costs.power_w_per_chip, &costs.tokens_per_joule) {
        lines.push(("power per chip", format!("{} W, its share of the system included", with_band(watts))));
        lines.push(("tokens/joule", with_band(tokens)));
    }
    if let Some(unknown) = &costs.energy_left_out {
        lines.push(("energy", format!("left out: {unknown}")));
    }
    match &costs.cost_per_million_tokens {
        Some(cost) => lines.push(("cost/million tokens", format!("{}, {}", with_band(cost), counted(prices)))),
        None if prices.are_given() => lines.push(("cost/million tokens", "left out, as is energy".to_owned())),
        None => {}
    }
    lines
}

/// The figures of one answer, for a page.
pub(super) fn figures(costs: &TokenCosts, prices: &Prices) -> Vec<ShownFigure> {
    let why = || costs.energy_left_out.as_ref().map_or_else(String::new, ToString::to_string);
    let figure = |key, name, value: Option<Interval>, why: String| match value {
        Some(value) => ShownFigure::new(key, name, small(value.median), band_text(&value)),
        None => ShownFigure::new(key, name, "-".to_owned(), why),
    };
    let energy = figure("joule", "tokens per joule", costs.tokens_per_joule, why());
    let cost = || figure("cost", "cost of a million tokens", costs.cost_per_million_tokens, String::new());
    std::iter::once(energy).chain(prices.are_given().then(cost)).collect()
}

/// A figure that may be far below 1: three digits behind the point then.
pub(super) fn small(value: f64) -> String {
    if value < 1.0 { format!("{value:.3}") } else { grouped_digits(value) }
}

/// The ends of such a figure.
fn band_text(value: &Interval) -> String {
    format!("{} to {}", small(value.low), small(value.high))
}

/// A sentence about what costs count; empty without a price.
pub(super) fn priced_text(prices: &Prices) -> String {
    if prices.are_given() { format!(" Cost {}.", counted(prices)) } else { String::new() }
}

/// What a cost counts.
fn counted(prices: &Prices) -> String {
    let hire = prices.chip_hour.map(|price| format!("{price} per chip-hour"));
    let energy = prices.kwh.map(|price| format!("{price} per kWh"));
    let given: Vec<String> = hire.into_iter().chain(energy).collect();
    format!("at {}", given.join(" and "))
}
