//! From values with bands to intervals: draws of every uncertain input at once, and one input at a time.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::load::ExpertLoad;
use super::machine::Machine;
use super::phases::{Outcome, evaluate};
use super::request::Request;
use super::result::{Interval, Intervals, Phase, Plan, Swing};
use crate::specs::Sourced;

/// Which end of every band is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Slowest.
    Pessimistic,
    /// The central value.
    Nominal,
    /// Fastest.
    Optimistic,
}

impl Scenario {
    /// A rate, size or share: more is better.
    pub fn rate(self, value: &Sourced) -> f64 {
        match self {
            Self::Pessimistic => value.low.unwrap_or(value.value),
            Self::Nominal => value.value,
            Self::Optimistic => value.high.unwrap_or(value.value),
        }
    }

    /// A time or a factor on one: less is better.
    pub fn time(self, value: &Sourced) -> f64 {
        match self {
            Self::Pessimistic => value.high.unwrap_or(value.value),
            Self::Nominal => value.value,
            Self::Optimistic => value.low.unwrap_or(value.value),
        }
    }
}

/// Draws behind an interval.
pub const DRAWS: u32 = 256;
/// Seed of the draws.
pub const SEED: u64 = 384;
/// Bars of a tornado.
const MOST_SWINGS: usize = 12;
/// Band of the hottest rank's load around what `expert_load` says: from perfect balance to a tenth more (assumed).
const SKEW: (f64, f64) = (1.0 / super::load::RESIDUAL_SKEW, 1.1);

/// The throughput's band, the other bands, and what moves the throughput most, all at the plan that was chosen.
pub(super) fn spread(request: &Request, plan: &Plan, nominal: &Outcome) -> (Interval, Intervals, Vec<Swing>) {
    let base = values(request);
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let draws: Vec<Vec<f64>> =
        (0..DRAWS).map(|_| base.iter().map(|input| input.at(random.random::<f64>())).collect()).collect();
    let with = |drawn: &[f64]| outcome(request, plan, drawn);
    let outcomes: Vec<Outcome> = draws.par_iter().filter_map(|drawn| with(drawn)).collect();
    let central: Vec<f64> = base.iter().map(|input| input.value).collect();
    let one_at_a_time = |index: usize, value: f64| {
        let mut changed = central.clone();
        changed[index] = value;
        with(&changed).map_or_else(|| nominal.throughput(plan), |outcome| outcome.throughput(plan))
    };
    let mut tornado: Vec<Swing> = base
        .par_iter()
        .enumerate()
        .filter(|(_, input)| input.low < input.high)
        .map(|(index, input)| Swing {
            what: input.name.clone(),
            at_low: one_at_a_time(index, input.low),
            at_high: one_at_a_time(index, input.high),
        })
        .collect();
    let swing = |bar: &Swing| (bar.at_high - bar.at_low).abs();
    tornado.retain(|bar| swing(bar) > 1e-9 * nominal.throughput(plan));
    tornado.sort_by(|a, b| swing(b).total_cmp(&swing(a)).then_with(|| a.what.cmp(&b.what)));
    tornado.truncate(MOST_SWINGS);

    let band = |of: &dyn Fn(&Outcome) -> f64| band(outcomes.iter().map(of).collect(), of(nominal));
    let throughput = |outcome: &Outcome| outcome.throughput(plan);
    let chips = f64::from(plan.chips);
    let peak = Machine::new(request, Scenario::Nominal).map_or(f64::INFINITY, |machine| machine.peak) * chips;
    let intervals = Intervals {
        draws: DRAWS,
        seed: SEED,
        step_s: Some(band(&|outcome| outcome.terms.total().get())),
        tpot_s: (request.phase == Phase::Decode).then(|| band(&Outcome::per_token)),
        ttft_s: (request.phase == Phase::Prefill).then(|| band(&|outcome| outcome.terms.total().get())),
        mfu: Some(band(&|outcome| outcome.model_flop / outcome.terms.total().get() / peak)),
        median_over_draws: quantile(&mut outcomes.iter().map(throughput).collect::<Vec<_>>(), 0.5),
    };
    (band(&throughput), intervals, tornado)
}

/// 5th to 95th percentile, which always holds the central estimate.
fn band(mut values: Vec<f64>, central: f64) -> Interval {
    let low = quantile(&mut values, 0.05).unwrap_or(central);
    let high = quantile(&mut values, 0.95).unwrap_or(central);
    Interval { median: central, low: low.min(central), high: high.max(central) }
}

fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = share * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of the list")]
    let below = at.floor() as usize;
    let (low, high) = (values.get(below)?, values.get((below + 1).min(last))?);
    Some(low + (high - low) * at.fract())
}

fn outcome(request: &Request, plan: &Plan, drawn: &[f64]) -> Option<Outcome> {
    let mut changed = request.clone();
    let mut values = drawn.iter();
    each(&mut changed, &mut |_, input| {
        if let Some(value) = values.next() {
            *input = *value;
        }
    });
    let machine = Machine::new(&changed, Scenario::Nominal).ok()?;
    Some(evaluate(&changed, plan, &machine))
}

/// An uncertain input: a triangle from `low` over `value` to `high`.
struct Input {
    name: String,
    value: f64,
    low: f64,
    high: f64,
}

impl Input {
    /// The value below which a share of the triangle lies.
    fn at(&self, share: f64) -> f64 {
        let (low, mode, high) = (self.low, self.value, self.high);
        let width = high - low;
        if width <= 0.0 {
            return mode;
        }
        let rising = (mode - low) / width;
        if share < rising {
            low + (share * width * (mode - low)).sqrt()
        } else {
            high - ((1.0 - share) * width * (high - mode)).sqrt()
        }
    }
}

/// The inputs that a request's answer rests on.
fn values(request: &Request) -> Vec<Input> {
    let mut list = Vec::new();
    let mut scratch = request.clone();
    visit(&mut scratch, &mut |name, input| {
        let (value, low, high) = match input {
            Value::Sourced(input) => (input.value, input.low.unwrap_or(input.value), input.high.unwrap_or(input.value)),
            Value::Skew(skew) => {
                let low = if request.workload.expert_load == ExpertLoad::Replicated { SKEW.0 } else { 1.0 };
                (*skew, *skew * low, *skew * SKEW.1)
            }
        };
        list.push(Input { name, value, low, high });
    });
    list
}

enum Value<'a> {
    Sourced(&'a mut Sourced),
    Skew(&'a mut f64),
}

/// Calls `change` with each input's central value.
fn each(request: &mut Request, change: &mut dyn FnMut(&str, &mut f64)) {
    visit(request, &mut |name, input| match input {
        Value::Sourced(input) => change(&name, &mut input.value),
        Value::Skew(skew) => change(&name, skew),
    });
}

fn visit(request: &mut Request, see: &mut dyn FnMut(String, Value<'_>)) {
    let chip = &mut request.chip;
    for (number_type, peak) in &mut chip.peaks {
        see(format!("peak {}", number_type.name()), Value::Sourced(peak));
    }
    let classes = &mut chip.efficiency;
    let named = [
        ("attention", &mut classes.attention),
        ("prefill attention", &mut classes.prefill_attention),
        ("experts", &mut classes.expert),
        ("products", &mut classes.dense),
        ("gating", &mut classes.gating),
        ("elementwise", &mut classes.vector),
    ];
    for (name, class) in named {
        see(format!("{name}, of the arithmetic peak"), Value::Sourced(&mut class.compute));
        see(format!("{name}, of the memory bandwidth"), Value::Sourced(&mut class.memory));
    }
    for (name, input) in [
        ("memory bandwidth", &mut chip.bandwidth),
        ("links of the chip", &mut chip.scale_up),
        ("launch", &mut chip.launch),
        ("fixed time of a step", &mut chip.step),
        ("clock under load", &mut chip.sustained_clock),
        ("cores held by communication", &mut chip.communication_cores),
        ("cores held by communication, decode", &mut chip.decode_communication_cores),
        ("cores that fill the memory", &mut chip.saturating_cores),
        ("measured kernels", &mut chip.cost_factor),
    ] {
        see(name.to_owned(), Value::Sourced(input));
    }
    for tier in &mut request.fabric.tiers {
        let name = &tier.name;
        if let Some(bandwidth) = &mut tier.bandwidth_bytes_per_s {
            see(format!("{name} bandwidth"), Value::Sourced(bandwidth));
        }
        for (what, input) in [
            ("link efficiency", &mut tier.link_efficiency),
            ("latency", &mut tier.latency_s),
            ("message overhead", &mut tier.message_overhead_s),
            ("fixed cost, collective", &mut tier.collective_fixed_s),
            ("fixed cost, dispatch or combine", &mut tier.all_to_all_fixed_s),
        ] {
            see(format!("{name} {what}"), Value::Sourced(input));
        }
    }
    if request.model.moe.is_some() {
        see("skew of expert load".to_owned(), Value::Skew(&mut request.workload.skew));
    }
}
