//! Claims against the model: every reading is evaluated, and those that fit are found.
//!
//! A reading fits if, for each figure of the claim, the model's interval and the range that the figure covers overlap.
//! Nothing is fitted to a claim: the model's inputs are those of `supernode project`.

mod arithmetic;
mod verdict;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use super::sweep::{Catalogue, Defaults, MEASURED, Question, ScalePoint, SweepError, paired_ratio, scaling};
use super::{ChipModel, Infeasible, Interval, Phase, Projection, Request, Workload, project, with_plan};
use crate::specs::Point;
use crate::specs::claim::{Claim, Figure, Quantity};

pub use verdict::{Nearest, Verdict};

/// What a model says about a figure under a reading.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Value {
    /// Which figure.
    pub of: Quantity,
    /// The model's, in SI units.
    pub value: Interval,
    /// Whether it overlaps the figure's range.
    pub fits: bool,
    /// The central value over the nearest end of the range; 1 inside it.
    pub off_by: f64,
}

/// A claim under one reading.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// The reading.
    pub point: Point,
    /// The model's values, in the order of the claim's figures; empty where there is none.
    pub values: Vec<Value>,
    /// Whether all of them fit.
    pub fits: bool,
    /// How the values came about.
    pub how: String,
    /// Why there is no value.
    pub impossible: Option<String>,
    /// Whether an input has the figure from the claim itself, which then proves nothing.
    pub circular: bool,
    /// The machine by size, where the claim is about size.
    pub series: Vec<ScalePoint>,
}

/// A claim with all its readings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// Short name.
    pub name: String,
    /// In words.
    pub title: String,
    /// As announced, each with the verdict on it alone.
    pub figures: Vec<JudgedFigure>,
    /// The verdict on all figures together.
    pub verdict: Verdict,
    /// All readings.
    pub readings: Vec<Reading>,
    /// What the reader must keep in mind.
    pub caveats: Vec<String>,
}

/// A figure with its verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JudgedFigure {
    /// As announced.
    #[serde(flatten)]
    pub figure: Figure,
    /// The verdict.
    pub verdict: Verdict,
    /// The reading that comes nearest, by central values.
    pub nearest: Option<Nearest>,
}

/// All questions that readings ask, each once.
#[derive(Default)]
struct Asked {
    requests: BTreeMap<String, Request>,
    answers: BTreeMap<String, Result<Projection, Infeasible>>,
}

impl Asked {
    fn key(request: &Request) -> String {
        format!("{request:?}")
    }

    fn add(&mut self, request: Request) {
        self.requests.entry(Self::key(&request)).or_insert(request);
    }

    /// Answers what was added since, on all cores. `done` hears of each.
    fn answer(&mut self, done: &(dyn Fn(&str) + Sync)) {
        let open: Vec<(String, Request)> = std::mem::take(&mut self.requests).into_iter().collect();
        let open: Vec<_> = open.into_iter().filter(|(key, _)| !self.answers.contains_key(key)).collect();
        let answers: Vec<_> = open
            .into_par_iter()
            .map(|(key, request)| {
                let answer = project(&request);
                done(&request.model.name);
                (key, answer)
            })
            .collect();
        self.answers.extend(answers);
    }

    fn get(&self, request: &Request) -> Option<Result<&Projection, &Infeasible>> {
        self.answers.get(&Self::key(request)).map(Result::as_ref)
    }
}

/// Judges claims. `measured` is the chip of a record; it then stands for the chip of every projected reading. `done` hears
/// the name of the model of each question that is answered.
///
/// # Errors
/// [`SweepError`]: a reading names what does not exist.
pub fn judge(
    claims: &[Claim],
    measured: Option<&ChipModel>,
    done: &(dyn Fn(&str) + Sync),
) -> Result<Vec<Judged>, SweepError> {
    claims.iter().map(|claim| judge_one(claim, measured, done)).collect()
}

fn judge_one(claim: &Claim, measured: Option<&ChipModel>, done: &(dyn Fn(&str) + Sync)) -> Result<Judged, SweepError> {
    let (readings, mut caveats) = if claim.is_projected() {
        projected(claim, measured, done)?
    } else {
        (claim.readings.points().map(|point| arithmetic::reading_of(claim, point)).collect(), Vec::new())
    };
    if readings.iter().any(|reading| reading.circular) {
        let title = &claim.title;
        caveats.push(format!("{title}: a reading whose inputs come from the announcement itself does not count"));
    }
    let figures = claim.figures.iter().enumerate().map(|(index, figure)| JudgedFigure {
        figure: figure.clone(),
        verdict: verdict::verdict(claim, &readings, Some(index)),
        nearest: verdict::nearest(claim, &readings, Some(index)),
    });
    Ok(Judged {
        name: claim.name.clone(),
        title: claim.title.clone(),
        figures: figures.collect(),
        verdict: verdict::verdict(claim, &readings, None),
        readings,
        caveats,
    })
}

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
            workload: Workload { tpot_limit_s: f64::INFINITY, tpot_limit_binds: false, ..request.workload },
            ..request.clone()
        };
        if self.with_prefill() { vec![request.clone(), prefill] } else { vec![request.clone()] }
    }

    fn same_plan(&self) -> bool {
        self.point.text("baseline_plan") == Some("the supernode's")
    }
}

fn projected(
    claim: &Claim,
    measured: Option<&ChipModel>,
    done: &(dyn Fn(&str) + Sync),
) -> Result<(Vec<Reading>, Vec<String>), SweepError> {
    let file = format!("claim {}", claim.name);
    let defaults = Defaults { chip: "ascend-910c", fabric: "cloudmatrix384", chips: 384 };
    let catalogue = Catalogue::load(&file, &claim.readings, defaults, measured)?;
    let ask = |point: Point| {
        let question = catalogue.question(&point, defaults).map(|question| with_chip(question, measured));
        Open { point: with_chip_name(point, measured), question }
    };
    let open: Vec<Open> = claim.readings.points().map(ask).collect();
    if let Some(rule) = &claim.scaling {
        let readings: Vec<Reading> =
            open.into_iter().map(|open| scaled(claim, open, &rule.chips, rule.keeps, done)).collect();
        let keeps = rule.keeps * 100.0;
        let mut caveats =
            vec![format!("to scale is to keep {keeps:.0} % of the smallest machine's rate a chip: {}", rule.source)];
        for figures in readings.iter().flat_map(|reading| &reading.series).filter_map(|point| point.figures.as_ref()) {
            add_new(&mut caveats, &figures.caveats);
        }
        return Ok((readings, caveats));
    }
    let mut asked = Asked::default();
    for open in &open {
        if let Ok(Question { request, baseline }) = &open.question {
            open.parts(request).into_iter().for_each(|part| asked.add(part));
            if let Some(baseline) = baseline.as_ref().filter(|_| !open.same_plan()) {
                open.parts(baseline).into_iter().for_each(|part| asked.add(part));
            }
        }
    }
    asked.answer(done);
    // The baseline at the plan of the supernode is known only now.
    for open in open.iter().filter(|open| open.same_plan()) {
        if let Ok(question) = &open.question {
            same_plan_requests(open, question, &asked).into_iter().flatten().for_each(|part| asked.add(part));
        }
    }
    asked.answer(done);
    let mut caveats: Vec<String> = Vec::new();
    for projection in asked.answers.values().flatten() {
        add_new(&mut caveats, &projection.caveats);
    }
    Ok((open.into_iter().map(|open| read(claim, open, &asked)).collect(), caveats))
}

fn add_new(list: &mut Vec<String>, more: &[String]) {
    for caveat in more {
        if !list.contains(caveat) {
            list.push(caveat.clone());
        }
    }
}

fn with_chip(mut question: Question, measured: Option<&ChipModel>) -> Question {
    if let Some(chip) = measured {
        for request in std::iter::once(&mut question.request).chain(&mut question.baseline) {
            request.chip = chip.clone();
            // A type that the device was not measured in would leave nothing to say.
            request.number_type = request.number_type.filter(|kind| chip.peaks.contains_key(kind));
        }
    }
    question
}

fn with_chip_name(mut point: Point, measured: Option<&ChipModel>) -> Point {
    if measured.is_some() {
        for (_, value) in point.0.iter_mut().filter(|(key, _)| key == "chip") {
            *value = crate::specs::grid::Value::Text(MEASURED.to_owned());
        }
    }
    point
}

/// The parts of the question on the baseline, at the plans that they have on the fabric.
fn same_plan_requests(open: &Open, question: &Question, asked: &Asked) -> Vec<Option<Request>> {
    let Some(baseline) = &question.baseline else { return Vec::new() };
    let parts = open.parts(&question.request).into_iter().zip(open.parts(baseline));
    parts.map(|(on, below)| Some(with_plan(&below, &asked.get(&on)?.ok()?.plan))).collect()
}

fn read(claim: &Claim, open: Open, asked: &Asked) -> Reading {
    let values =
        open.question.as_ref().map_err(Clone::clone).and_then(|question| values(claim, &open, question, asked));
    reading(claim, open.point, values.map(|(values, how)| (values, how, false)))
}

/// Puts a reading together from its values in the order of the figures, how they came about, and whether in a circle.
fn reading(claim: &Claim, point: Point, values: Result<(Vec<Interval>, String, bool), String>) -> Reading {
    let (values, how, circular, impossible) = match values {
        Ok((values, how, circular)) => (values, how, circular, None),
        Err(reason) => (Vec::new(), String::new(), false, Some(reason)),
    };
    let values: Vec<Value> =
        claim.figures.iter().zip(values).map(|(figure, value)| verdict::compare(figure, value)).collect();
    let fits = !values.is_empty() && !circular && values.iter().all(|value| value.fits);
    Reading { point, values, fits, how, impossible, circular, series: Vec::new() }
}

fn values(claim: &Claim, open: &Open, question: &Question, asked: &Asked) -> Result<(Vec<Interval>, String), String> {
    let on = rate(open, &open.parts(&question.request), asked)?;
    let mut how = on.1;
    let mut values = Vec::new();
    for figure in &claim.figures {
        values.push(match figure.of {
            Quantity::Speedup => {
                let baseline = question.baseline.as_ref().ok_or("the reading names no baseline")?;
                let parts = if open.same_plan() {
                    same_plan_requests(open, question, asked).into_iter().flatten().collect()
                } else {
                    open.parts(baseline)
                };
                let below = rate(open, &parts, asked).map_err(|reason| format!("baseline: {reason}"))?;
                how = format!("{how}; baseline {}", below.1);
                paired_ratio(&on.0, &below.0)
            }
            _ => on.0,
        });
    }
    Ok((values, how))
}

/// Tokens per second and chip: of one phase, or of answers whose prompts are prefilled on the same chips.
fn rate(open: &Open, parts: &[Request], asked: &Asked) -> Result<(Interval, String), String> {
    let projections: Vec<&Projection> = parts
        .iter()
        .map(|part| asked.get(part).ok_or("not evaluated")?.map_err(|reason| reason.to_string()))
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
fn scaled(claim: &Claim, open: Open, chips: &[u32], keeps: f64, done: &(dyn Fn(&str) + Sync)) -> Reading {
    let Open { point, question } = open;
    let series = question.map(|question| {
        let series = scaling(&question.request, chips, point.text("global_batch") != Some("stays"));
        done(&question.request.model.name);
        series
    });
    let values = series.as_ref().map_err(Clone::clone).and_then(|series| {
        let most = |end: fn(&Interval) -> f64| {
            let kept = |point: &&ScalePoint| point.efficiency.as_ref().is_some_and(|share| end(share) >= keeps);
            series.iter().filter(kept).map(|point| point.chips).max()
        };
        let median = f64::from(most(|share| share.median).ok_or_else(|| no_size(series))?);
        let end = |end| most(end).map_or(median, f64::from);
        let value = Interval { median, low: end(|share| share.low), high: end(|share| share.high) };
        let shares: Vec<String> = series.iter().map(share_text).collect();
        Ok((vec![value], shares.join(", "), false))
    });
    let mut reading = reading(claim, point, values);
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
