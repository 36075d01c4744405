//! Published collectives and link figures, from specs/validation/fabric.toml.

use serde::Deserialize;

use crate::projection::expert_load::ExpertLoad;
use crate::projection::fabric::Mode;
use crate::projection::fabric::exchange::{Exchange, Payload, exchange};
use crate::projection::fabric::placement::{Experts, Placement};
use crate::projection::fabric::{Direction, Site, rank_links};
use crate::projection::validation::published_row::PublishedRow;
use crate::specs::{Checked, Fabric, Scenario, Sourced};

const ROWS: &str = include_str!("../../../specs/validation/fabric.toml");

/// A published row and what it was measured with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FabricCase {
    /// Short and unique.
    pub id: String,
    /// `expert-parallel collectives` or `fabric`.
    pub group: String,
    /// The fabric by name.
    pub fabric: String,
    /// What was measured.
    pub what: FabricQuantity,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// Ranks, in the fabric's own unit.
    #[serde(default)]
    pub ep: usize,
    /// Tokens per rank.
    #[serde(default = "low_latency_tokens")]
    pub tokens: f64,
    /// The most nodes per token.
    pub most_groups: Option<f64>,
    /// Elements of a dispatched token.
    pub dispatch: Option<DispatchType>,
    /// The source.
    pub source: String,
    /// How far it was checked.
    pub checked: Checked,
    /// A remark.
    #[serde(default)]
    pub note: String,
}

/// What a row measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FabricQuantity {
    /// Seconds of a dispatch, low-latency kernels.
    DispatchLatency,
    /// Seconds of a combine, low-latency kernels.
    CombineLatency,
    /// Bottleneck bandwidth of a dispatch, kernels for many tokens.
    DispatchBandwidth,
    /// Bottleneck bandwidth of a combine, kernels for many tokens.
    CombineBandwidth,
    /// Nodes of a supernode.
    Nodes,
    /// Switch planes.
    Planes,
    /// Bandwidth of a rank, one direction.
    RankBandwidth,
    /// Bandwidth lost between nodes, at most.
    InterNodeLoss,
    /// Latency added between nodes, at most.
    InterNodeLatency,
    /// Latency inside a node.
    NodeLatency,
    /// Latency between nodes.
    SupernodeLatency,
}

/// Elements of a dispatched token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DispatchType {
    /// 8-bit floats.
    Fp8,
    /// 8-bit integers.
    Int8,
}

fn low_latency_tokens() -> f64 {
    128.0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rows: Vec<FabricCase>,
}

/// The published rows; a test keeps the embedded file readable.
pub fn cases() -> Vec<FabricCase> {
    toml::from_str::<File>(ROWS).map(|file| file.rows).unwrap_or_default()
}

/// All rows with the model's answers.
pub fn rows() -> Vec<PublishedRow> {
    let answers = cases().into_iter().map(|case| {
        let fabric = Fabric::load(&case.fabric).ok();
        fabric.and_then(|fabric| answer(&fabric, &case)).unwrap_or_else(|| row(&case, None, false))
    });
    answers.collect()
}

/// The model's answer to a row on a fabric; `None` if it has none.
pub fn answer(fabric: &Fabric, case: &FabricCase) -> Option<PublishedRow> {
    let fitted = fabric.fit.as_ref().is_some_and(|fit| fit.rows.contains(&case.id));
    Some(row(case, Some(modelled(fabric, case)?), fitted))
}

fn row(case: &FabricCase, modelled: Option<f64>, fitted: bool) -> PublishedRow {
    let what = match case.what {
        FabricQuantity::DispatchLatency => format!("dispatch of {} tokens, EP {}", case.tokens, case.ep),
        FabricQuantity::CombineLatency => format!("combine of {} tokens, EP {}", case.tokens, case.ep),
        FabricQuantity::DispatchBandwidth => format!("dispatch of {} tokens, EP {}", case.tokens, case.ep),
        FabricQuantity::CombineBandwidth => format!("combine of {} tokens, EP {}", case.tokens, case.ep),
        FabricQuantity::Nodes => "nodes".to_owned(),
        FabricQuantity::Planes => "switch planes".to_owned(),
        FabricQuantity::RankBandwidth => "bandwidth a rank and direction".to_owned(),
        FabricQuantity::InterNodeLoss => "bandwidth lost between nodes, at most".to_owned(),
        FabricQuantity::InterNodeLatency => "latency added between nodes, at most".to_owned(),
        FabricQuantity::NodeLatency => "read of 512 B inside a node".to_owned(),
        FabricQuantity::SupernodeLatency => "read of 512 B between nodes".to_owned(),
    };
    PublishedRow {
        id: case.id.clone(),
        group: case.group.clone(),
        quantity: format!("{}: {what}", case.fabric),
        unit: case.unit.clone(),
        published: case.value,
        upper_bound: matches!(case.what, FabricQuantity::InterNodeLoss | FabricQuantity::InterNodeLatency),
        modelled,
        source: case.source.clone(),
        checked: case.checked,
        fitted,
        note: case.note.clone(),
    }
}

fn modelled(fabric: &Fabric, case: &FabricCase) -> Option<f64> {
    // The fabrics of the rows bring their own bandwidths.
    let none = Sourced::assumed(1.0, 1.0, 1.0, "not used");
    let site = Site { fabric, scale_up: &none, scenario: Scenario::Nominal };
    let time = |direction, mode| exchange(&site, &collective(case, direction, mode), &[]).ok();
    let tiers = &fabric.tiers;
    Some(match case.what {
        FabricQuantity::DispatchLatency => time(Direction::Dispatch, Mode::LowLatency)?.latency_s,
        FabricQuantity::CombineLatency => time(Direction::Combine, Mode::LowLatency)?.latency_s,
        FabricQuantity::DispatchBandwidth => time(Direction::Dispatch, Mode::Normal)?.bandwidth_bytes_per_s,
        FabricQuantity::CombineBandwidth => time(Direction::Combine, Mode::Normal)?.bandwidth_bytes_per_s,
        FabricQuantity::Nodes => tiers.get(1)?.chips as f64 / tiers.first()?.chips as f64,
        FabricQuantity::Planes => tiers.get(1)?.planes as f64,
        FabricQuantity::RankBandwidth => {
            tiers.first()?.bandwidth_bytes_per_s.as_ref()?.value / fabric.ranks_per_chip() as f64
        }
        FabricQuantity::InterNodeLoss => {
            let links = rank_links(fabric, &none, Scenario::Nominal);
            let mut bus = links.iter().filter(|link| !link.on_package);
            1.0 - 1.0 / (bus.next()?.bandwidth / bus.next()?.bandwidth)
        }
        FabricQuantity::InterNodeLatency => tiers.get(1)?.latency_s.value - tiers.first()?.latency_s.value,
        FabricQuantity::NodeLatency => tiers.first()?.latency_s.value,
        FabricQuantity::SupernodeLatency => tiers.get(1)?.latency_s.value,
    })
}

fn collective(case: &FabricCase, direction: Direction, mode: Mode) -> Exchange {
    let payload = match (direction, case.dispatch) {
        (Direction::Combine, _) | (_, None) => Payload::Bf16,
        (_, Some(DispatchType::Fp8)) => Payload::Fp8,
        (_, Some(DispatchType::Int8)) => Payload::Int8,
    };
    Exchange {
        direction,
        mode,
        tokens: case.tokens,
        hidden: 7168.0,
        payload,
        experts: Experts { experts: 256, redundant: 0, top_k: 8, ranks: case.ep, placement: Placement::InOrder },
        load: ExpertLoad::Uniform,
        most_groups: case.most_groups,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::validation::summary;

    /// Rows read in their source, in the two groups that the model must reproduce.
    fn latencies() -> Vec<PublishedRow> {
        let wanted = |row: &PublishedRow| {
            row.unit == "s" && row.group == "expert-parallel collectives" && row.checked == Checked::Yes
        };
        rows().into_iter().filter(wanted).collect()
    }

    #[test]
    fn every_row_is_read_and_answered() {
        let cases = cases();
        assert!(cases.len() > 60, "{} rows", cases.len());
        for row in rows() {
            assert!(row.modelled.is_some_and(f64::is_finite), "{}", row.id);
            assert!(!row.source.is_empty());
        }
        let mut ids: Vec<_> = cases.iter().map(|case| &case.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), cases.len(), "ids are unique");
    }

    #[test]
    fn every_published_latency_comes_out_within_12_percent_and_their_mean_within_6() {
        for row in latencies() {
            let error = row.relative_error().unwrap();
            assert!(error.abs() <= 0.12, "{}: {:.1} %", row.id, error * 100.0);
        }
        let all = latencies();
        assert!(summary(&all).mean_absolute <= 0.06);
        let unseen = summary(all.iter().filter(|row| !row.fitted));
        assert!(unseen.answered >= 20 && unseen.mean_absolute <= 0.06, "{unseen:?}");
    }

    #[test]
    fn rows_that_a_fit_has_seen_are_few() {
        for name in Fabric::builtin_names() {
            let Some(fit) = Fabric::load(name).unwrap().fit else { continue };
            assert!(fit.free.len() <= 4 && fit.rows.len() <= 3, "{name}");
            let others = cases().iter().filter(|case| case.fabric == name && !fit.rows.contains(&case.id)).count();
            assert!(others >= fit.rows.len(), "{name}");
        }
    }
}
