//! Claims that the projection answers.

use crate::projection::answer::project;
use crate::projection::caveat::{ProjectionCaveat, add_new};
use crate::projection::chip::ChipModel;
use crate::projection::parallel_plan::Phase;
use crate::projection::questions::catalogue::{Catalogue, Defaults, MEASURED, Question, SweepError};
use crate::projection::questions::claims::asked;
use crate::projection::questions::claims::reading::{ClaimReading, Derived};
use crate::projection::questions::claims::served::{self, OpenServing};
use crate::projection::questions::claims::utilised;
use crate::projection::questions::scaling::{GlobalBatch, ScalePoint, scaling};
use crate::projection::questions::serving_point::is_serving;
use crate::projection::request::{Infeasible, Request, Workload};
use crate::projection::result::{Interval, Projection};
use crate::specs::Point;
use crate::specs::claim::{Claim, ClaimQuantity, ScalingRule};
use crate::specs::grid::GridValue;

/// Questions about one step, with their answers.
type Asked = asked::AskedOnce<Request, Result<Projection, Infeasible>>;

/// A reading as questions.
struct Open {
    point: Point,
    question: Result<Question, String>,
}

impl Open {
    fn with_prefill(&self) -> bool {
        self.point.text("serving") == Some("with_prefill")
    }

    /// The decode or whatever phase, and the prefill before it where it counts.
    fn parts(&self, request: &Request) -> Vec<Request> {
        let prefill = Request {
            phase: Phase::Prefill,
            workload: Workload { tpot_limit_binds: false, ..request.workload.clone() },
            ..request.clone()
        };
        let prefill = prefill.without_limit();
        if self.with_prefill() { vec![request.clone(), prefill] } else { vec![request.clone()] }
    }

    fn same_plan(&self) -> bool {
        has_same_plan(&self.point) && !self.is_utilised()
    }

    /// Whether a published utilisation stands for the projection.
    fn is_utilised(&self) -> bool {
        self.point.number("mfu").is_some()
    }
}

/// Whether the baseline has the plan of the fabric.
fn has_same_plan(point: &Point) -> bool {
    point.text("baseline_plan") == Some("the supernode's")
}

/// The readings of a claim that the projection answers, and the caveats of those answers.
///
/// # Errors
/// [`SweepError`]: a reading names what does not exist.
pub(super) fn readings(
    claim: &Claim,
    measured: Option<&ChipModel>,
    done: &(dyn Fn(&str) + Sync),
) -> Result<(Vec<ClaimReading>, Vec<ProjectionCaveat>), SweepError> {
    let file = format!("claim {}", claim.name);
    let defaults = Defaults { chip: "ascend-910c", fabric: "cloudmatrix384", chips: 384 };
    let catalogue = Catalogue::load(&file, &claim.readings, defaults, measured)?;
    let ask = |point: Point| {
        let question = catalogue.question(&point, defaults);
        let question = question.map(|question| on_baseline(&point, with_chip(&point, question, measured)));
        Open { point: with_chip_name(point, measured), question }
    };
    let ask_serving = |point: Point| {
        let question = catalogue.serving_question(&point, defaults);
        let question = question.map(|question| match measured {
            Some(chip) => served::with_chip(question, chip),
            None => question,
        });
        let same_plan = has_same_plan(&point);
        OpenServing { point: with_chip_name(point, measured), question, same_plan }
    };
    let points: Vec<Point> = claim.readings.points().collect();
    let in_serving: Vec<bool> = points.iter().map(is_serving).collect();
    let (serving, steps): (Vec<Point>, Vec<Point>) = points.into_iter().partition(is_serving);
    let open: Vec<Open> = steps.into_iter().map(ask).collect();
    if let Some(rule) = &claim.scaling {
        let readings: Vec<ClaimReading> = open.into_iter().map(|open| scaled(claim, open, rule, done)).collect();
        let mut caveats = vec![ProjectionCaveat::ScalingRule { keeps: rule.keeps, source: rule.source.clone() }];
        for figures in readings.iter().flat_map(|reading| &reading.series).filter_map(|point| point.figures.as_ref()) {
            add_new(&mut caveats, &figures.caveats);
        }
        return Ok((readings, caveats));
    }
    let mut asked = Asked::default();
    for open in open.iter().filter(|open| !open.is_utilised()) {
        if let Ok(Question { request, baseline }) = &open.question {
            open.parts(request).into_iter().for_each(|part| asked.add(part));
            if let Some(baseline) = baseline.as_ref().filter(|_| !open.same_plan()) {
                open.parts(baseline).into_iter().for_each(|part| asked.add(part));
            }
        }
    }
    let answer = |request: &Request| {
        let answer = project(request);
        done(&request.model.name);
        answer
    };
    asked.answer(answer);
    // The baseline at the plan of the supernode is known only now.
    for open in open.iter().filter(|open| open.same_plan()) {
        if let Ok(question) = &open.question {
            same_plan_requests(open, question, &asked).into_iter().flatten().for_each(|part| asked.add(part));
        }
    }
    asked.answer(answer);
    let mut projections: Vec<&Projection> = asked.answers().filter_map(|answer| answer.as_ref().ok()).collect();
    let key = |projection: &Projection| (projection.model.clone(), projection.fabric.clone(), projection.phase.name());
    projections.sort_by_cached_key(|projection| key(projection));
    let mut caveats = Vec::new();
    for projection in projections {
        add_new(&mut caveats, &projection.caveats);
    }
    let (of_serving, more) = served::readings(claim, serving.into_iter().map(ask_serving).collect(), done);
    add_new(&mut caveats, &more);
    // In the order of the grid, which the words of a verdict count on.
    let (mut of_serving, mut of_steps) =
        (of_serving.into_iter(), open.into_iter().map(|open| read(claim, open, &asked)));
    let next = |is_serving: bool| if is_serving { of_serving.next() } else { of_steps.next() };
    Ok((in_serving.into_iter().filter_map(next).collect(), caveats))
}

/// The question with the device of a record in place of the chip; a chip that is named for the baseline stays.
fn with_chip(point: &Point, mut question: Question, measured: Option<&ChipModel>) -> Question {
    if let Some(chip) = measured {
        let baseline = question.baseline.as_mut().filter(|_| point.text("baseline_chip").is_none());
        for request in std::iter::once(&mut question.request).chain(baseline) {
            request.chip = chip.clone();
            // A type that the device was not measured in would leave nothing to say.
            request.number_type = request.number_type.filter(|kind| chip.peaks.contains_key(&chip.product_type(*kind)));
        }
    }
    question
}

/// The question with what the point says of the baseline's run.
fn on_baseline(point: &Point, mut question: Question) -> Question {
    if let Some(below) = &mut question.baseline {
        if point.text("baseline_overlap") == Some("exposed") {
            below.workload.overlap = false;
        }
        if point.text("baseline_plan") == Some("split over two nodes") {
            // Whole dies: a chip's file has one or two.
            let dies = if below.chip.dies.value > 1.0 { 2 } else { 1 };
            let node = below.fabric.tiers.first().map_or(1, |node| node.chips);
            below.pins.tp = u32::try_from(2 * dies * node).ok();
        }
    }
    question
}

fn with_chip_name(mut point: Point, measured: Option<&ChipModel>) -> Point {
    if measured.is_some() {
        for (_, value) in point.0.iter_mut().filter(|(key, _)| key == "chip") {
            *value = GridValue::Text(MEASURED.to_owned());
        }
    }
    point
}

/// The parts of the question on the baseline, at the plans that they have on the fabric.
fn same_plan_requests(open: &Open, question: &Question, asked: &Asked) -> Vec<Option<Request>> {
    let Some(baseline) = &question.baseline else { return Vec::new() };
    let parts = open.parts(&question.request).into_iter().zip(open.parts(baseline));
    parts.map(|(on, below)| Some(below.with_plan(&asked.get(&on)?.as_ref().ok()?.plan))).collect()
}

fn read(claim: &Claim, open: Open, asked: &Asked) -> ClaimReading {
    let question = open.question.as_ref().map_err(Clone::clone);
    let derived = question.and_then(|question| values(claim, &open, question, asked));
    ClaimReading::new(claim, open.point, derived)
}

/// The values of the figures, none of them circular: a projection uses no announced figure.
fn values(claim: &Claim, open: &Open, question: &Question, asked: &Asked) -> Result<Derived, String> {
    if open.is_utilised() {
        return utilised::values(claim, &open.point, question);
    }
    let on = rate(open, &open.parts(&question.request), asked)?;
    let mut how = on.1;
    let mut values = Vec::new();
    for figure in &claim.figures {
        values.push(match figure.of {
            ClaimQuantity::Speedup => {
                let baseline = question.baseline.as_ref().ok_or("the reading names no baseline")?;
                let parts = if open.same_plan() {
                    same_plan_requests(open, question, asked).into_iter().flatten().collect()
                } else {
                    open.parts(baseline)
                };
                let below = rate(open, &parts, asked).map_err(|reason| format!("baseline: {reason}"))?;
                how = format!("{how}; baseline {}", below.1);
                on.0.paired_ratio(&below.0)
            }
            _ => on.0,
        });
    }
    Ok(Derived { values, how, circular: false })
}

/// Tokens per second and chip: of one phase, or of answers whose prompts are prefilled on the same chips.
fn rate(open: &Open, parts: &[Request], asked: &Asked) -> Result<(Interval, String), String> {
    let projections: Vec<&Projection> = parts
        .iter()
        .map(|part| asked.get(part).ok_or("not evaluated")?.as_ref().map_err(ToString::to_string))
        .collect::<Result<_, String>>()?;
    let text = |projection: &Projection| {
        let plan = &projection.plan;
        format!(
            "{:.0} at tp{} pp{} ep{} dp{} b{:.1}",
            projection.tokens_per_s_per_chip.median, plan.tp, plan.pp, plan.ep, plan.dp, plan.batch_per_chip
        )
    };
    match projections.as_slice() {
        [one] => Ok((one.tokens_per_s_per_chip, text(one))),
        [decode, prefill] => {
            let output = open.point.number("workload.output_len").unwrap_or(0.0);
            let prompt = parts.first().map_or(0.0, |part| part.workload.prompt_len);
            if output < 1.0 {
                return Err("with_prefill needs workload.output_len".to_owned());
            }
            let (decode_rate, prefill_rate) = (decode.tokens_per_s_per_chip, prefill.tokens_per_s_per_chip);
            let both = |decode: f64, prefill: f64| output / (output / decode + prompt / prefill);
            let interval = Interval {
                median: both(decode_rate.median, prefill_rate.median),
                low: both(decode_rate.low, prefill_rate.low),
                high: both(decode_rate.high, prefill_rate.high),
            };
            Ok((interval, format!("decode {}, prefill {}", text(decode), text(prefill))))
        }
        _ => Err("nothing to evaluate".to_owned()),
    }
}

/// The most chips of the series up to which a chip keeps its share of the throughput, at each end of the band.
fn scaled(claim: &Claim, open: Open, rule: &ScalingRule, done: &(dyn Fn(&str) + Sync)) -> ClaimReading {
    let Open { point, question } = open;
    let series = question.map(|question| {
        let stays = point.text("global_batch") == Some("stays");
        let global_batch = if stays { GlobalBatch::Stays } else { GlobalBatch::Grows };
        let series = scaling(&question.request, &rule.chips, global_batch);
        done(&question.request.model.name);
        series
    });
    let values = series.as_ref().map_err(Clone::clone).and_then(|series| {
        let most = |end: fn(&Interval) -> f64| {
            let kept = |point: &&ScalePoint| point.efficiency.as_ref().is_some_and(|share| end(share) >= rule.keeps);
            series.iter().filter(kept).map(|point| point.chips).max()
        };
        let median = f64::from(most(|share| share.median).ok_or_else(|| no_size(series))?);
        let end = |end| most(end).map_or(median, f64::from);
        let value = Interval { median, low: end(|share| share.low), high: end(|share| share.high) };
        let shares: Vec<String> = series.iter().map(share_text).collect();
        Ok(Derived { values: vec![value], how: shares.join(", "), circular: false })
    });
    let mut reading = ClaimReading::new(claim, point, values);
    reading.series = series.unwrap_or_default();
    reading
}

fn no_size(series: &[ScalePoint]) -> String {
    let reason = series.iter().find_map(|point| point.infeasible.clone());
    reason.unwrap_or_else(|| "no size has a plan".to_owned())
}

fn share_text(point: &ScalePoint) -> String {
    let share = point.efficiency.map_or_else(|| "none".to_owned(), |share| format!("{:.0} %", share.median * 100.0));
    format!("{} chips {share}", point.chips)
}
