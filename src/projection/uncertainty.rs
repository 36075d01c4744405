//! From inputs with bands to intervals: draws of all inputs at once, and one input at a time.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::ordering::by_rising;
use crate::projection::inputs::{Band, inputs};
use crate::projection::machine::Machine;
use crate::projection::parallel;
use crate::projection::parallel_plan::{ParallelPlan, Phase};
use crate::projection::phases::{PlanOutcome, evaluate};
use crate::projection::request::Request;
use crate::projection::result::{Interval, Intervals, Swing};
use crate::specs::Scenario;
use crate::statistics::{median, quantile};

/// Draws behind an interval.
pub const DRAWS: u32 = 256;
/// Seed of the draws.
pub const SEED: u64 = 384;
/// Bars of a tornado.
const MOST_SWINGS: usize = 12;

/// The throughput's band, the other bands, and what moves the throughput most, all at the chosen plan.
pub(super) fn spread(
    request: &Request,
    plan: &ParallelPlan,
    nominal: &PlanOutcome,
) -> (Interval, Intervals, Vec<Swing>) {
    let base = bands(request);
    let draws = draws(&base, DRAWS);
    let scratch = || request.clone();
    let drawn = parallel::map(&draws, scratch, |scratch, drawn| outcome(scratch, plan, drawn));
    let outcomes: Vec<PlanOutcome> = drawn.into_iter().flatten().collect();
    let central: Vec<f64> = base.iter().map(|(_, band)| band.value).collect();
    let one_at_a_time = |scratch: &mut Request, index: usize, value: f64| {
        let mut changed = central.clone();
        changed[index] = value;
        outcome(scratch, plan, &changed).map_or_else(|| nominal.throughput(plan), |outcome| outcome.throughput(plan))
    };
    let uncertain: Vec<_> = base.iter().enumerate().filter(|(_, (_, band))| band.low < band.high).collect();
    let mut tornado = parallel::map(&uncertain, scratch, |scratch, (index, (name, band))| Swing {
        what: name.clone(),
        at_low: one_at_a_time(scratch, *index, band.low),
        at_high: one_at_a_time(scratch, *index, band.high),
    });
    let swing = |bar: &Swing| (bar.at_high - bar.at_low).abs();
    tornado.retain(|bar| swing(bar) > 1e-9 * nominal.throughput(plan));
    tornado = by_rising(tornado, |bar| [-swing(bar), 0.0]);
    tornado.truncate(MOST_SWINGS);

    let band = |of: &dyn Fn(&PlanOutcome) -> f64| band(outcomes.iter().map(of).collect(), of(nominal));
    let throughput = |outcome: &PlanOutcome| outcome.throughput(plan);
    let chips = f64::from(plan.chips);
    let peak = Machine::new(request, Scenario::Nominal).map_or(f64::INFINITY, |machine| machine.peak.get()) * chips;
    let intervals = Intervals {
        draws: DRAWS,
        seed: SEED,
        step_s: Some(band(&|outcome| outcome.terms.total().get())),
        tpot_s: (request.phase == Phase::Decode).then(|| band(&PlanOutcome::per_token)),
        ttft_s: (request.phase == Phase::Prefill).then(|| band(&|outcome| outcome.terms.total().get())),
        mfu: Some(band(&|outcome| outcome.model_flop / outcome.terms.total().get() / peak)),
        median_over_draws: median_of(outcomes.iter().map(throughput).collect()),
    };
    (band(&throughput), intervals, tornado)
}

/// The bands of some figures over draws of all inputs at once, around the `central` values that they have without. A draw
/// in which there are no such figures is left out.
pub(super) fn bands_of<const FIGURES: usize>(
    request: &Request,
    count: u32,
    central: [f64; FIGURES],
    figures: impl Fn(&Request) -> Option<[f64; FIGURES]> + Sync,
) -> [Interval; FIGURES] {
    let draws = draws(&bands(request), count);
    let drawn = parallel::map(
        &draws,
        || request.clone(),
        |scratch, drawn| {
            set(scratch, drawn);
            figures(scratch)
        },
    );
    let drawn: Vec<[f64; FIGURES]> = drawn.into_iter().flatten().collect();
    std::array::from_fn(|index| band(drawn.iter().map(|all| all[index]).collect(), central[index]))
}

/// Values of all drawn inputs, in their order, so many times.
fn draws(base: &[(String, Band)], count: u32) -> Vec<Vec<f64>> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    (0..count).map(|_| base.iter().map(|(_, band)| quantile_of(band, random.random::<f64>())).collect()).collect()
}

fn median_of(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    median(&values)
}

/// From the 5th to the 95th percentile, widened to hold the central estimate.
fn band(mut values: Vec<f64>, central: f64) -> Interval {
    values.sort_unstable_by(f64::total_cmp);
    let low = quantile(&values, 0.05).unwrap_or(central);
    let high = quantile(&values, 0.95).unwrap_or(central);
    Interval { median: central, low: low.min(central), high: high.max(central) }
}

/// Sets all drawn inputs, in their order. The values replace those of the draw before.
fn set(request: &mut Request, drawn: &[f64]) {
    let mut list = inputs(request);
    let uncertain = list.iter_mut().filter(|input| input.value.band().is_some());
    uncertain.zip(drawn).for_each(|(input, value)| input.value.set(*value));
}

/// The outcome with these values of all drawn inputs.
fn outcome(request: &mut Request, plan: &ParallelPlan, drawn: &[f64]) -> Option<PlanOutcome> {
    set(request, drawn);
    let machine = Machine::new(request, Scenario::Nominal).ok()?;
    Some(evaluate(request, plan, &machine))
}

/// Name and band of each input that is drawn.
fn bands(request: &Request) -> Vec<(String, Band)> {
    let mut scratch = request.clone();
    inputs(&mut scratch).into_iter().filter_map(|input| Some((input.name.to_string(), input.value.band()?))).collect()
}

/// The value below which a share of a triangular distribution lies: from `low` over the mode `value` to `high`.
fn quantile_of(band: &Band, share: f64) -> f64 {
    let (low, mode, high) = (band.low, band.value, band.high);
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
