//! A fleet on the page: a strip of its devices, the outliers, the spread of the cases and the network.

use maud::{Markup, html};

use crate::record::{FleetNetwork, FleetRecord};
use crate::report::fleet::{self, PairSummary};
use crate::report::numbers::percent;
use crate::report::page::tables::{figure_table, word};
use crate::report::text::clean;
use crate::report::words;
use crate::units::Bytes;

/// The section of a fleet, the `i`-th of the page.
pub(super) fn fleet(fleet: &FleetRecord, i: usize) -> Markup {
    html! {
        section id=(format!("fleet-{i}")) {
            h2 { "Fleet of " (fleet.plan.ranks) " devices " span.badge.measured { "measured" } }
            p.sub {
                (fleet.hosts.len()) " computers, preset " (words::preset(fleet.plan.preset))
                @if let Some(library) = &fleet.mpi_library { ", " (clean(library)) }
                ". Each square is a device: its time over the median of all, the median over the cases. "
                "The device nearest to the median has a section of its own."
            }
            (strip(fleet))
            (notes(fleet))
            (outliers(fleet))
            details.part { summary { h3 { "Spread of each case" } } (spread(fleet)) }
            @if let Some(network) = &fleet.network { (self::network(fleet, network)) }
        }
    }
}

/// One square per rank, computer by computer.
fn strip(fleet: &FleetRecord) -> Markup {
    let ratios = fleet.time_ratios();
    let is_outlier = |rank: u32| fleet.outliers.iter().any(|outlier| outlier.rank == rank);
    html! {
        @for (at, host) in fleet.hosts.iter().enumerate() {
            div.strip {
                span.name { (clean(&host.name)) }
                @for rank in fleet.ranks.iter().filter(|rank| rank.host as usize == at) {
                    @let ratio = ratios.get(&rank.rank);
                    span.device.outlier[is_outlier(rank.rank)].lacking[ratio.is_none()] title=(square(rank.rank, ratio)) {
                        (rank.rank)
                        small { (ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))) }
                    }
                }
            }
        }
    }
}

fn square(rank: u32, ratio: Option<&f64>) -> String {
    match ratio {
        Some(ratio) => format!("rank {rank}: {ratio:.3} of the median time"),
        None => format!("rank {rank}: nothing measured"),
    }
}

/// What lacks, and the caveats.
fn notes(fleet: &FleetRecord) -> Markup {
    let lacking = fleet::lacking(fleet);
    html! {
        @if lacking.is_some() || !fleet.caveats.is_empty() {
            ul.caveats {
                @if let Some(lacking) = lacking { li { (lacking) } }
                @for caveat in &fleet.caveats { li { (caveat) } }
            }
        }
    }
}

fn outliers(fleet: &FleetRecord) -> Markup {
    html! {
        h3 { "Outliers" }
        @if fleet.outliers.is_empty() { p { "None." } }
        @else { ul { @for outlier in &fleet.outliers { li { (fleet::outlier(fleet, outlier)) } } } }
        p.note { (fleet::criterion(&fleet.criterion)) "." }
    }
}

fn spread(fleet: &FleetRecord) -> Markup {
    let rows = fleet.spread.iter().map(|case| {
        vec![
            word(&case.id),
            html! { (case.ranks) },
            html! { (case.median_s) },
            html! { (percent(case.mad_s / case.median_s)) },
            html! { (format!("{:.2}", case.slowest.median_s / case.fastest.median_s)) },
            html! { (case.together_over_alone.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))) },
        ]
    });
    let heads = ["case", "ranks", "median", "MAD", "slowest over fastest", "among neighbours over alone"];
    figure_table("Times over the ranks", &heads, 1, rows)
}

fn network(fleet: &FleetRecord, network: &FleetNetwork) -> Markup {
    let pairs = fleet::pairs(fleet, network).into_iter().map(|summary| {
        let PairSummary { where_, pairs, latency, rate, sizes } = summary;
        vec![
            word(where_),
            html! { (pairs) },
            html! { (latency[1]) " (" (latency[0]) " to " (latency[2]) ")" },
            html! { (rate[1]) " (" (rate[0]) " to " (rate[2]) ")" },
            html! { (sizes[0]) ", " (sizes[1]) },
        ]
    });
    let collectives = network.collectives.iter().map(|time| {
        vec![
            word(&fleet::collective(time)),
            html! { (time.ranks) },
            html! { (Bytes::new(time.bytes as f64)) },
            html! { (time.timing.median_s) },
            html! { (fleet::half_interval(&time.timing)) },
        ]
    });
    html! {
        h3 { "Network" }
        p.sub { "From the computers' main memory; the data of each transfer was checked." }
        (figure_table("Messages between two ranks", &["where", "pairs", "smallest message", "largest message", "sizes"], 1, pairs))
        @if !network.refused.is_empty() {
            ul.caveats {
                @for refused in &network.refused {
                    li { "refused: " (clean(&refused.what)) " on rank " (refused.rank) ": " (clean(&refused.reason)) }
                }
            }
        }
        details.part {
            summary { h3 { "Collectives" } }
            (figure_table("Collectives", &["collective", "ranks", "bytes", "median", "95 %"], 1, collectives))
        }
    }
}
