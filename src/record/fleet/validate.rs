//! What a fleet document must satisfy beyond its types, whoever wrote it.

use std::collections::BTreeSet;

use super::super::check::{Problem, Sound, at_least_one, count, named, number, ordered, positive, text};
use super::super::validate;
use super::document::{FleetCapacity, FleetCaveat, FleetHost, FleetPlan, FleetRank, FleetRecord};
use super::network::{CollectiveTime, FleetNetwork, PairTime, RefusedTransfer, TokenTraffic, TransferTiming};
use super::note::RankNote;
use super::outlier::OutlierCriterion;
use crate::record::{Record, Selection};
use crate::units::Seconds;

/// The most ranks of a fleet.
pub(super) const MAX_RANKS: u32 = 100_000;
/// The most entries of each list about the network.
const MAX_TRANSFERS: usize = 200_000;
/// The most samples of one transfer.
const MAX_SAMPLES: usize = 10_000;
/// The most texts that choose cases.
const MAX_PARTS: usize = 1000;

/// Refuses a document with a value that cannot be.
pub(super) fn check(fleet: &FleetRecord) -> Sound {
    moment(&fleet.created_at)?;
    text("tool.name", &fleet.tool.name)?;
    text("tool.version", &fleet.tool.version)?;
    text("tool.git_commit", fleet.tool.git_commit.as_deref().unwrap_or_default())?;
    text("mpi_library", fleet.mpi_library.as_deref().unwrap_or_default())?;
    plan(&fleet.plan).map_err(|p| p.within("plan"))?;
    fleet.capacity.as_ref().map_or(Ok(()), capacity).map_err(|p| p.within("capacity"))?;
    criterion(&fleet.criterion).map_err(|p| p.within("criterion"))?;
    hosts(&fleet.hosts)?;
    let mut places = BTreeSet::new();
    for (at, one) in fleet.ranks.iter().enumerate() {
        let in_rank = |p: Problem| p.within(&format!("ranks[{at}]"));
        rank(one, fleet).map_err(in_rank)?;
        if !places.insert((one.host, one.local_rank)) {
            return Err(in_rank(Problem::new("local_rank", "another rank of this computer has it too")));
        }
    }
    if fleet.ranks.windows(2).any(|pair| pair[0].rank >= pair[1].rank) {
        return Err(Problem::new("ranks", "not ascending"));
    }
    fleet.network.as_ref().map_or(Ok(()), |found| network(found, fleet.plan.ranks).map_err(|p| p.within("network")))?;
    count("caveats", fleet.caveats.len(), MAX_PARTS)?;
    fleet.caveats.iter().try_for_each(|caveat| match caveat {
        FleetCaveat::InjectedSlowdown { factor, .. } => positive("caveats.factor", *factor),
        FleetCaveat::SharedDevices { .. } | FleetCaveat::Merged { .. } => Ok(()),
    })
}

/// Refuses a note with a value that cannot be.
pub(super) fn check_note(note: &RankNote) -> Sound {
    moment(&note.created_at)?;
    text("tool.name", &note.tool.name)?;
    text("tool.version", &note.tool.version)?;
    text("tool.git_commit", note.tool.git_commit.as_deref().unwrap_or_default())?;
    plan(&note.plan).map_err(|p| p.within("plan"))?;
    note.capacity.as_ref().map_or(Ok(()), capacity).map_err(|p| p.within("capacity"))?;
    below("rank", note.rank, note.plan.ranks)?;
    below("local_rank", note.local_rank, note.plan.ranks)?;
    hosts(std::slice::from_ref(&note.host))
}

fn moment(created_at: &str) -> Sound {
    text("created_at", created_at)?;
    match created_at.parse::<jiff::Timestamp>() {
        Ok(_) => Ok(()),
        Err(_) => Err(Problem::new("created_at", "not an RFC 3339 time")),
    }
}

fn plan(plan: &FleetPlan) -> Sound {
    at_least_one("ranks", plan.ranks)?;
    count("ranks", plan.ranks as usize, MAX_RANKS as usize)?;
    for (at, parts) in [("only", &plan.only), ("alone", &plan.alone)] {
        count(at, parts.len(), MAX_PARTS)?;
        parts.iter().try_for_each(|part| text(at, part))?;
    }
    match &plan.selection {
        Selection::Named { variant } => named("selection.variant", variant),
        Selection::Tuned | Selection::Default | Selection::AllVariants => Ok(()),
    }
}

fn capacity(capacity: &FleetCapacity) -> Sound {
    let FleetCapacity { arithmetic_flop_per_s, memory_bytes_per_s, case_bytes: _, buffer_bytes: _ } = capacity;
    arithmetic_flop_per_s.map_or(Ok(()), |rate| positive("arithmetic_flop_per_s", rate.get()))?;
    memory_bytes_per_s.map_or(Ok(()), |rate| positive("memory_bytes_per_s", rate.get()))
}

fn criterion(criterion: &OutlierCriterion) -> Sound {
    positive("least_score", criterion.least_score)?;
    positive("least_share", criterion.least_share)?;
    at_least_one("fewest_ranks", criterion.fewest_ranks)
}

fn hosts(hosts: &[FleetHost]) -> Sound {
    count("hosts", hosts.len(), MAX_RANKS as usize)?;
    let mut names = BTreeSet::new();
    for one in hosts {
        named("hosts.name", &one.name)?;
        text("hosts.host.os", &one.host.os)?;
        text("hosts.host.cpu", &one.host.cpu)?;
        if one.host.browser.is_some() {
            return Err(Problem::new("hosts.host.browser", "a page of a browser is no rank of a fleet"));
        }
        if !names.insert(&one.name) {
            return Err(Problem::new("hosts.name", "two computers have one name"));
        }
    }
    Ok(())
}

fn below(at: &str, value: u32, limit: u32) -> Sound {
    if value < limit { Ok(()) } else { Err(Problem::new(at, format!("{value}, where there are {limit}"))) }
}

fn rank(rank: &FleetRank, fleet: &FleetRecord) -> Sound {
    below("rank", rank.rank, fleet.plan.ranks)?;
    below("local_rank", rank.local_rank, fleet.plan.ranks)?;
    below("host", rank.host, u32::try_from(fleet.hosts.len()).unwrap_or(u32::MAX))?;
    text("problem", rank.problem.as_deref().unwrap_or_default())?;
    for (at, record) in [("record", &rank.record), ("alone", &rank.alone)] {
        let Some(record) = record else { continue };
        validate::check(record).map_err(|p| p.within(at))?;
        of_fleet(record, fleet).map_err(|p| p.within(at))?;
    }
    Ok(())
}

/// A record is one of the fleet's run.
fn of_fleet(record: &Record, fleet: &FleetRecord) -> Sound {
    if record.tool != fleet.tool {
        return Err(Problem::new("tool", "not that of the fleet"));
    }
    if (record.protocol.preset, record.protocol.seed) != (fleet.plan.preset, fleet.plan.seed) {
        return Err(Problem::new("protocol", "preset or seed are not those of the fleet"));
    }
    Ok(())
}

fn network(network: &FleetNetwork, ranks: u32) -> Sound {
    count("pairs", network.pairs.len(), MAX_TRANSFERS)?;
    count("collectives", network.collectives.len(), MAX_TRANSFERS)?;
    count("refused", network.refused.len(), MAX_TRANSFERS)?;
    for (at, found) in network.pairs.iter().enumerate() {
        pair(found, ranks).map_err(|p| p.within(&format!("pairs[{at}]")))?;
    }
    for (at, found) in network.collectives.iter().enumerate() {
        collective(found, ranks).map_err(|p| p.within(&format!("collectives[{at}]")))?;
    }
    network.refused.iter().try_for_each(|RefusedTransfer { what, rank, reason }| {
        below("refused.rank", *rank, ranks)?;
        named("refused.what", what)?;
        text("refused.reason", reason)
    })
}

fn pair(pair: &PairTime, ranks: u32) -> Sound {
    below("from", pair.from, ranks)?;
    below("to", pair.to, ranks)?;
    if pair.from == pair.to {
        return Err(Problem::new("to", "a rank sends to itself"));
    }
    some_bytes(pair.bytes)?;
    timing(&pair.timing).map_err(|p| p.within("timing"))
}

fn some_bytes(bytes: u64) -> Sound {
    if bytes == 0 { Err(Problem::new("bytes", "zero")) } else { Ok(()) }
}

fn collective(found: &CollectiveTime, ranks: u32) -> Sound {
    at_least_one("ranks", found.ranks)?;
    // The sum of a stranger's numbers may overflow.
    match found.first_rank.checked_add(found.ranks) {
        Some(end) if end <= ranks => {}
        _ => return Err(Problem::new("ranks", format!("beyond the {ranks} of the fleet"))),
    }
    some_bytes(found.bytes)?;
    found.traffic.as_ref().map_or(Ok(()), traffic).map_err(|p| p.within("traffic"))?;
    timing(&found.timing).map_err(|p| p.within("timing"))
}

fn traffic(traffic: &TokenTraffic) -> Sound {
    named("model", &traffic.model)?;
    at_least_one("tokens", traffic.tokens)?;
    at_least_one("experts", traffic.experts)?;
    at_least_one("top_k", traffic.top_k)?;
    if traffic.top_k > traffic.experts {
        return Err(Problem::new("top_k", format!("{} of {} experts", traffic.top_k, traffic.experts)));
    }
    if traffic.token_bytes == 0 { Err(Problem::new("token_bytes", "zero")) } else { Ok(()) }
}

/// The statistics fit the samples.
fn timing(timing: &TransferTiming) -> Sound {
    at_least_one("repeats", timing.repeats)?;
    count("samples_s", timing.samples_s.len(), MAX_SAMPLES)?;
    timing.samples_s.iter().try_for_each(|sample| number("samples_s", sample.get()))?;
    let least = timing.samples_s.iter().copied().fold(Seconds::new(f64::INFINITY), Seconds::min);
    let most = timing.samples_s.iter().copied().fold(Seconds::ZERO, Seconds::max);
    if timing.samples_s.is_empty() {
        return Err(Problem::new("samples_s", "empty"));
    }
    positive("median_s", timing.median_s.get())?;
    let [low, high] = timing.ci95_s;
    [timing.mad_s, low, high].iter().try_for_each(|time| number("ci95_s", time.get()))?;
    ordered("median_s", "outside its samples", &[least, timing.median_s, most])?;
    ordered("ci95_s", "not around the median", &[low, timing.median_s, high])
}
