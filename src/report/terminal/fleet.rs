//! A fleet document as tables: its ranks, outliers, the spread of each case, the network.

use comfy_table::CellAlignment::{Left, Right};

use crate::record::{FleetNetwork, FleetRecord};
use crate::report::fleet::{self, PairSummary};
use crate::report::numbers::percent;
use crate::report::terminal::layout::{paragraph, plain, push_lines, title};
use crate::report::text::{clean, short};
use crate::report::words;
use crate::units::Bytes;

/// The most columns of a case's id.
const ID_COLUMNS: usize = 52;

/// The whole document. With `details` each case and each collective has a line.
pub fn fleet(fleet: &FleetRecord, details: bool) -> String {
    let mut out = String::new();
    heading(&mut out, fleet);
    outliers(&mut out, fleet);
    if details {
        spread(&mut out, fleet);
    } else {
        widest(&mut out, fleet);
    }
    if let Some(network) = &fleet.network {
        self::network(&mut out, fleet, network, details);
    }
    out
}

fn heading(out: &mut String, fleet: &FleetRecord) {
    let (ranks, hosts) = (fleet.plan.ranks, fleet.hosts.len());
    title(out, &format!("Fleet: {ranks} ranks on {hosts} computers, preset {}", words::preset(fleet.plan.preset)));
    for (at, host) in fleet.hosts.iter().enumerate() {
        let of_host = fleet.ranks.iter().filter(|rank| rank.host as usize == at);
        let mut names: Vec<String> = of_host
            .filter_map(|rank| rank.record.as_ref())
            .map(|record| format!("{} ({})", clean(&record.device.name), clean(&record.device.backend)))
            .collect();
        let count = names.len();
        names.dedup();
        paragraph(out, "  ", &format!("{}: {count} records of {}", clean(&host.name), names.join(", ")));
    }
    if let Some(library) = &fleet.mpi_library {
        paragraph(out, "  ", &clean(library));
    }
    if let Some(lacking) = fleet::lacking(fleet) {
        paragraph(out, "  ", &lacking);
    }
    for rank in fleet.ranks.iter() {
        if let Some(problem) = &rank.problem {
            paragraph(out, "  ", &format!("rank {}: {}", rank.rank, clean(problem)));
        }
    }
    fleet.caveats.iter().for_each(|caveat| paragraph(out, "  ! ", &caveat.to_string()));
}

fn outliers(out: &mut String, fleet: &FleetRecord) {
    title(out, "Outliers");
    paragraph(out, "  ", &format!("{}.", fleet::criterion(&fleet.criterion)));
    if fleet.outliers.is_empty() {
        paragraph(out, "  ", "None.");
    }
    for outlier in &fleet.outliers {
        paragraph(out, "  - ", &fleet::outlier(fleet, outlier));
    }
}

/// The cases whose devices are farthest apart.
fn widest(out: &mut String, fleet: &FleetRecord) {
    let share = |case: &crate::record::CaseSpread| case.slowest.median_s / case.fastest.median_s;
    let Some(widest) = fleet.spread.iter().max_by(|a, b| share(a).total_cmp(&share(b))) else { return };
    let mut ratios: Vec<f64> = fleet.spread.iter().map(share).collect();
    ratios.sort_by(f64::total_cmp);
    let middle = crate::statistics::median(&ratios).unwrap_or(1.0);
    title(out, "Spread");
    let text = format!(
        "{} cases; the slowest device takes {middle:.2} times the fastest's time in the median case, and {:.2} times in the \
         widest, {} (ranks {} and {}).",
        fleet.spread.len(),
        share(widest),
        clean(&widest.id),
        widest.slowest.rank,
        widest.fastest.rank
    );
    paragraph(out, "  ", &text);
    let together: Vec<String> = fleet
        .spread
        .iter()
        .filter_map(|case| Some(format!("{} {:.2}", short(&case.id, ID_COLUMNS), case.together_over_alone?)))
        .collect();
    if !together.is_empty() {
        let text = format!("Time among measuring neighbours over the time alone: {}.", together.join("; "));
        paragraph(out, "  ", &text);
    }
}

fn spread(out: &mut String, fleet: &FleetRecord) {
    title(out, "Spread of each case over the ranks");
    let mut table = plain(&[Left, Right, Right, Right, Right, Right]);
    table.set_header(["case", "ranks", "median", "MAD", "slowest/fastest", "together/alone"]);
    for case in &fleet.spread {
        table.add_row([
            short(&case.id, ID_COLUMNS),
            case.ranks.to_string(),
            case.median_s.to_string(),
            percent(case.mad_s / case.median_s),
            format!("{:.2}", case.slowest.median_s / case.fastest.median_s),
            case.together_over_alone.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    push_lines(out, &table);
}

fn network(out: &mut String, fleet: &FleetRecord, network: &FleetNetwork, details: bool) {
    title(out, "Network, from the computers' main memory");
    let pairs = if network.all_pairs { "every pair of ranks" } else { "a sample of the pairs" };
    paragraph(out, "  ", &format!("Point to point, {pairs}, one at a time: least, median, most."));
    for PairSummary { where_, pairs, latency, rate, sizes } in fleet::pairs(fleet, network) {
        let [fastest, median, slowest] = latency;
        let [low, middle, high] = rate;
        let text = format!(
            "{where_}: {pairs} pairs, {} in {fastest}, {median}, {slowest}; {} at {low}, {middle}, {high}",
            sizes[0], sizes[1]
        );
        paragraph(out, "  ", &text);
    }
    let mut table = plain(&[Left, Right, Right, Right, Right]);
    table.set_header(["collective", "ranks", "bytes", "median", "95 %"]);
    let most = network.collectives.iter().map(|time| time.ranks).max().unwrap_or(0);
    for time in network.collectives.iter().filter(|time| details || time.ranks == most) {
        table.add_row([
            fleet::collective(time),
            time.ranks.to_string(),
            Bytes::new(time.bytes as f64).to_string(),
            time.timing.median_s.to_string(),
            fleet::half_interval(&time.timing),
        ]);
    }
    push_lines(out, &table);
    for refused in &network.refused {
        let text = format!("REFUSED {}: on rank {}: {}", clean(&refused.what), refused.rank, clean(&refused.reason));
        paragraph(out, "  ", &text);
    }
}
