//! A plan on the network itself, whole or faulty. Dispatch and combine of the slowest expert-parallel group take what
//! the loads of every port and link say, instead of the closed forms.

use serde::Serialize;

use crate::projection::expert_load::{ExpertLoad, hottest};
use crate::projection::fabric::exchange::{Exchange, ExchangeError, Payload, exchange};
use crate::projection::fabric::faults::FabricFault;
use crate::projection::fabric::placement::{Experts, Placement};
use crate::projection::fabric::{AllToAll, Direction, Group, Site, all_to_all, dispatch, rank_links};
use crate::projection::machine::{Machine, WireFactors};
use crate::projection::ops::copies;
use crate::projection::parallel_plan::{ExpertExchange, ParallelPlan};
use crate::projection::pass::Rank;
use crate::projection::phases::{self, typical};
use crate::projection::request::{Infeasible, Request};
use crate::specs::Scenario;
use crate::units::Bytes;

/// What a plan delivers on the network.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkAnswer {
    /// What is broken.
    pub faults: Vec<String>,
    /// Tokens per second and chip.
    pub tokens_per_s_per_chip: f64,
    /// The same with closed forms on the whole fabric, at the same plan.
    pub closed_forms_tokens_per_s_per_chip: f64,
    /// The step, seconds.
    pub step_s: f64,
    /// Time of a dispatch over that of the closed form.
    pub dispatch_over_closed_form: f64,
    /// Time of a combine over that of the closed form.
    pub combine_over_closed_form: f64,
    /// The busiest resource of the slower of the two.
    pub hottest_link: String,
}

/// Why a plan has no answer on the network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OnNetworkError {
    /// The plan cannot be evaluated at all.
    #[error(transparent)]
    Infeasible(#[from] Infeasible),
    /// The exchange has no time.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// No experts, or none shared.
    #[error("{model} in this plan has no dispatch and combine: flows and faults act on these alone")]
    NoExchange {
        /// The model.
        model: String,
    },
    /// Ranks of the exchange are no neighbours.
    #[error(
        "flows and faults number ranks as neighbours, which those of an exchange are not with moe-tp {moe_tp}: leave it out"
    )]
    SplitExperts {
        /// Ranks that split each expert.
        moe_tp: u32,
    },
}

/// Evaluates a plan with dispatch and combine on the network. The group's ranks are neighbours, from rank 0 on; faults
/// number ranks in the same way. The hottest rank has the load that the closed forms assume, and the others share the
/// rest.
///
/// # Errors
/// [`OnNetworkError`].
pub fn evaluate(
    request: &Request,
    plan: &ParallelPlan,
    faults: &[FabricFault],
) -> Result<NetworkAnswer, OnNetworkError> {
    let mut machine = Machine::new(request, Scenario::Nominal)?;
    let rate = |machine: &Machine| {
        let outcome = phases::evaluate(request, plan, machine);
        (outcome.throughput(plan), outcome.terms.total().get())
    };
    let (closed, _) = rate(&machine);
    let [out, back] = exchanges(request, plan, &machine)?;
    let (dispatch, combine) = (over_closed_form(request, &out, faults)?, over_closed_form(request, &back, faults)?);
    machine.wire_factors = WireFactors { dispatch: dispatch.factor, combine: combine.factor };
    let (tokens, step_s) = rate(&machine);
    let slower = if dispatch.factor >= combine.factor { dispatch.hottest_link } else { combine.hottest_link };
    Ok(NetworkAnswer {
        faults: faults.iter().map(ToString::to_string).collect(),
        tokens_per_s_per_chip: tokens,
        closed_forms_tokens_per_s_per_chip: closed,
        step_s,
        dispatch_over_closed_form: dispatch.factor,
        combine_over_closed_form: combine.factor,
        hottest_link: slower,
    })
}

/// An exchange, and the same for the closed form.
struct Asked {
    exchange: Exchange,
    traffic: AllToAll,
}

/// Dispatch and combine of the pass that sets the pace, with ranks as the fabric counts them.
fn exchanges(request: &Request, plan: &ParallelPlan, machine: &Machine) -> Result<[Asked; 2], OnNetworkError> {
    if plan.moe_tp > 1 {
        return Err(OnNetworkError::SplitExperts { moe_tp: plan.moe_tp });
    }
    let none = || OnNetworkError::NoExchange { model: request.model.name.clone() };
    if plan.moe_exchange == ExpertExchange::AllGather {
        return Err(none());
    }
    let moe = request.model.moe.as_ref().ok_or_else(none)?;
    // Ranks of the plan are dies; those of a fabric that knows none are chips.
    let share = machine.dies / request.fabric.ranks_per_chip() as f64;
    let ranks = whole(f64::from(plan.ep) / share).filter(|ranks| *ranks > 1).ok_or_else(none)?;
    let (pass, setting) = typical(request, plan, machine);
    let rank = Rank { model: &request.model, plan, machine, pass: &pass };
    let own = rank.own_tokens() * share;
    let picks = copies(moe, plan);
    let most = ranks as f64;
    let load = (hottest(setting.load, moe, f64::from(plan.ep), own / share * picks) * machine.skew).min(most);
    let top_k = whole(picks).unwrap_or(1).clamp(1, ranks);
    let hidden = request.model.expert_width(moe);
    let most_groups = (moe.groups > 1).then_some(moe.kept_groups as f64);
    let out = if machine.widths.experts.operand < 2.0 { Payload::Int8 } else { Payload::Bf16 };
    let asked = |direction, payload: Payload| Asked {
        exchange: Exchange {
            direction,
            mode: setting.mode,
            tokens: own,
            hidden,
            payload,
            experts: Experts { experts: ranks, redundant: 0, top_k, ranks, placement: Placement::InOrder },
            load: one_hot(ranks, load),
            most_groups,
        },
        traffic: AllToAll {
            tokens: own * load,
            copies: top_k as f64,
            bytes: Bytes::new(payload.bytes(hidden)),
            mode: setting.mode,
            most_groups,
        },
    };
    Ok([asked(Direction::Dispatch, out), asked(Direction::Combine, Payload::Bf16)])
}

/// One rank with `load` times the mean, the others even.
fn one_hot(ranks: usize, load: f64) -> ExpertLoad {
    if load <= 1.0 + 1e-9 {
        return ExpertLoad::Uniform;
    }
    let rest = ((ranks as f64 - load) / (ranks as f64 - 1.0)).max(0.0);
    let mut shares = vec![rest; ranks];
    shares[0] = load;
    ExpertLoad::counted(shares, None)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before the cast")]
fn whole(value: f64) -> Option<usize> {
    (value.is_finite() && (1.0..1e9).contains(&value)).then_some(value.round() as usize)
}

/// Time on the network over that of the closed form on the whole fabric, and the busiest resource.
struct Compared {
    factor: f64,
    hottest_link: String,
}

fn over_closed_form(request: &Request, asked: &Asked, faults: &[FabricFault]) -> Result<Compared, ExchangeError> {
    let (fabric, scale_up) = (&request.fabric, &request.chip.scale_up);
    let answer = exchange(&Site { fabric, scale_up, scenario: Scenario::Nominal }, &asked.exchange, faults)?;
    let links = rank_links(fabric, scale_up, Scenario::Nominal);
    let group = Group { size: asked.exchange.experts.ranks as f64, stride: 1.0 };
    let closed = match asked.exchange.direction {
        Direction::Dispatch => dispatch(&links, group, &asked.traffic),
        Direction::Combine => all_to_all(&links, group, &asked.traffic),
    };
    let factor = if closed.is_positive() { answer.latency_s / closed.get() } else { 1.0 };
    Ok(Compared { factor, hottest_link: answer.hottest_link })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::{ChipModel, Phase, Pins, project};
    use crate::specs::{Chip, Fabric, Model};

    fn request(model: &str, fabric: &str, phase: Phase) -> Request {
        Request::new(
            Model::load(model).unwrap(),
            ChipModel::from_spec(&Chip::load("ascend-910c").unwrap()),
            Fabric::load(fabric).unwrap(),
            384,
            phase,
        )
    }

    #[test]
    fn a_whole_network_agrees_with_the_closed_forms() {
        for fabric in ["cloudmatrix384", "roce-cluster", "h800-ib"] {
            for phase in [Phase::Decode, Phase::Prefill] {
                let request = request("deepseek-v3", fabric, phase);
                let plan = project(&request).unwrap().plan;
                let answer = evaluate(&request, &plan, &[]).unwrap();
                for factor in [answer.dispatch_over_closed_form, answer.combine_over_closed_form] {
                    assert!((0.8..1.25).contains(&factor), "{fabric} {phase:?}: {answer:?}");
                }
                let ratio = answer.tokens_per_s_per_chip / answer.closed_forms_tokens_per_s_per_chip;
                assert!((0.93..1.07).contains(&ratio), "{fabric} {phase:?}: {answer:?}");
            }
        }
    }

    #[test]
    fn a_fault_costs_throughput_and_more_faults_cost_more() {
        // In one piece, so that nothing hides.
        let pins = Pins { microbatches: Some(1), ..Pins::default() };
        let request = Request { pins, ..request("deepseek-v3", "cloudmatrix384", Phase::Decode) };
        let plan = project(&request).unwrap().plan;
        let with = |faults: &[&str]| {
            let faults: Vec<FabricFault> = faults.iter().map(|fault| fault.parse().unwrap()).collect();
            evaluate(&request, &plan, &faults).unwrap().tokens_per_s_per_chip
        };
        let (whole, one, three) = (with(&[]), with(&["plane=3"]), with(&["plane=3", "plane=4", "plane=5"]));
        assert!(whole > one && one > three, "{whole} {one} {three}");
    }

    #[test]
    fn what_sends_nothing_to_experts_has_no_answer() {
        let request = request("llama-3.1-405b", "cloudmatrix384", Phase::Decode);
        let plan = project(&request).unwrap().plan;
        assert!(matches!(evaluate(&request, &plan, &[]), Err(OnNetworkError::NoExchange { .. })));
    }
}
