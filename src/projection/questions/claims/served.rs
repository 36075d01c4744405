//! Claims read as serving: the deployment with the most tokens per second and chip within the limits, at its own load.

use crate::projection::caveat::{ProjectionCaveat, add_new};
use crate::projection::chip::ChipModel;
use crate::projection::parallel_plan::ParallelPlan;
use crate::projection::questions::catalogue::ServingQuestion;
use crate::projection::questions::claims::asked::AskedOnce;
use crate::projection::questions::claims::reading::{ClaimReading, Derived};
use crate::projection::result::Interval;
use crate::projection::serving::answer::chosen;
use crate::projection::serving::band::intervals;
use crate::projection::serving::deployment::{Deployment, ServingPoint};
use crate::projection::serving::pinned::pinned;
use crate::projection::serving::{ServingRefusal, ServingRequest};
use crate::specs::Point;
use crate::specs::claim::{Claim, ClaimQuantity};

/// A reading as questions.
pub(super) struct OpenServing {
    pub(super) point: Point,
    pub(super) question: Result<ServingQuestion, String>,
    /// Whether the baseline has the deployment and the clients of the fabric.
    pub(super) same_plan: bool,
}

/// What a deployment delivers.
struct Delivered {
    point: ServingPoint,
    rate: Interval,
    caveats: Vec<ProjectionCaveat>,
}

type Answers = AskedOnce<ServingRequest, Result<Delivered, ServingRefusal>>;

/// The readings, and the caveats of their answers. `done` hears the model's name of each question that is answered.
pub(super) fn readings(
    claim: &Claim,
    open: Vec<OpenServing>,
    done: &(dyn Fn(&str) + Sync),
) -> (Vec<ClaimReading>, Vec<ProjectionCaveat>) {
    let mut asked = Answers::default();
    for (question, same_plan) in open.iter().filter_map(|one| Some((one.question.as_ref().ok()?, one.same_plan))) {
        asked.add(question.asked.clone());
        question.baseline.iter().filter(|_| !same_plan).for_each(|baseline| asked.add(baseline.clone()));
    }
    let answer = |request: &ServingRequest| {
        let answer = delivered(request);
        done(&request.on.model.name);
        answer
    };
    asked.answer(answer);
    // The baseline with the deployment of the fabric is known only now.
    for question in open.iter().filter(|one| one.same_plan).filter_map(|one| one.question.as_ref().ok()) {
        same_deployment(question, &asked).into_iter().flatten().for_each(|end| asked.add(end));
    }
    asked.answer(answer);
    let mut caveats = Vec::new();
    for delivered in asked.answers().filter_map(|answer| answer.as_ref().ok()) {
        add_new(&mut caveats, &delivered.caveats);
    }
    let readings = open.into_iter().map(|one| {
        let derived = values(claim, &one, &asked);
        ClaimReading::new(claim, one.point, derived)
    });
    (readings.collect(), caveats)
}

/// The question with a measured chip in place of its own.
pub(super) fn with_chip(mut question: ServingQuestion, chip: &ChipModel) -> ServingQuestion {
    for asked in std::iter::once(&mut question.asked).chain(&mut question.baseline) {
        asked.on.chip = chip.clone();
        asked.on.number_type = asked.on.number_type.filter(|kind| chip.peaks.contains_key(&chip.product_type(*kind)));
    }
    question
}

fn delivered(asked: &ServingRequest) -> Result<Delivered, ServingRefusal> {
    let (point, more) = chosen(asked)?;
    let mut caveats = vec![ProjectionCaveat::Projected, ProjectionCaveat::ClosedForm];
    add_new(&mut caveats, &more);
    add_new(&mut caveats, &asked.on.chip.caveats);
    Ok(Delivered { rate: intervals(asked, &point).tokens_per_s_per_chip, point, caveats })
}

/// The question on the fabric and on the baseline, both with the deployment and the clients that the fabric has, whatever
/// their times per token.
fn same_deployment(question: &ServingQuestion, asked: &Answers) -> Option<[ServingRequest; 2]> {
    let point = asked.get(&question.asked)?.as_ref().ok()?.point;
    let baseline = question.baseline.as_ref()?;
    let on = pinned(&question.asked, &point);
    let below = ServingRequest { on: on.on.on(baseline.on.fabric.clone()), ..on.clone() };
    Some([on, below])
}

/// The values of the figures, none of them circular.
fn values(claim: &Claim, one: &OpenServing, asked: &Answers) -> Result<Derived, String> {
    let question = one.question.as_ref().map_err(Clone::clone)?;
    let of = |request: &ServingRequest| {
        let answer = asked.get(request).ok_or("not evaluated")?;
        answer.as_ref().map_err(ToString::to_string)
    };
    let on = of(&question.asked)?;
    let mut how = words(&on.point);
    let mut values = Vec::new();
    for figure in &claim.figures {
        values.push(match figure.of {
            ClaimQuantity::Speedup => {
                let baseline = question.baseline.as_ref().ok_or("the reading names no baseline")?;
                let same = one.same_plan.then(|| same_deployment(question, asked)).flatten();
                let (above, below) = same.as_ref().map_or((&question.asked, baseline), |[on, below]| (on, below));
                let below = of(below).map_err(|reason| format!("baseline: {reason}"))?;
                how = format!("{how}; baseline {}", words(&below.point));
                of(above)?.rate.paired_ratio(&below.rate)
            }
            _ => on.rate,
        });
    }
    Ok(Derived { values, how, circular: false })
}

fn words(point: &ServingPoint) -> String {
    let plan = |plan: &ParallelPlan| format!("tp{} pp{} ep{} dp{}", plan.tp, plan.pp, plan.ep, plan.dp);
    let deployment = match &point.deployment {
        Deployment::Aggregated { plan: all } => plan(all),
        Deployment::Disaggregated { prefill_workers, prefill, decode_workers, decode } => {
            format!("prefill {prefill_workers} x {}, decode {decode_workers} x {}", plan(prefill), plan(decode))
        }
        Deployment::AttentionFfn { prefill_workers, prefill, decode_workers, attention, experts } => format!(
            "prefill {prefill_workers} x {}, {decode_workers} x attention {} and experts ep{} tp{}",
            plan(prefill),
            plan(attention),
            experts.ep,
            experts.moe_tp
        ),
    };
    format!(
        "{:.0} with {:.0} at once at {deployment}, {:.1} ms a token",
        point.tokens_per_s_per_chip,
        point.concurrency,
        point.tpot_s * 1e3
    )
}
