//! The network as it is: point to point and collectives, from the computers' main memory.
//!
//! `payload` makes data that names its source, and checks it; `sampling` times a transfer; `pairs`, `collectives` and
//! `tokens` are the transfers; this file goes through all of them.

mod collectives;
mod pairs;
mod payload;
mod sampling;
mod tokens;

use super::communicator::Communicator;
use crate::record::{CollectiveTime, FleetNetwork, MessageMemory, RefusedTransfer, TransferTiming};
use crate::units::Seconds;

pub use tokens::{GateWeights, ModelTokens};

use self::collectives::BulkTransfer;
use self::sampling::SampledTransfer;
use self::tokens::TokenExchange;

/// Sizes of messages and buffers in bytes, up to [`NetworkOptions::largest_bytes`].
const SIZES: [u64; 7] = [8, 4 << 10, 64 << 10, 1 << 20, 8 << 20, 64 << 20, 256 << 20];
/// Tokens per rank of dispatch and combine.
const TOKENS: [u32; 4] = [1, 16, 128, 1024];
/// A dispatch's busiest rank moves no more than this many times the largest message.
const MOST_TRAFFIC: u64 = 8;

/// How the network is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkOptions {
    /// The largest message or buffer in bytes.
    pub largest_bytes: u64,
    /// Time that the samples of one transfer may take; a few are taken however long they are.
    pub budget: Seconds,
    /// The most pairs that are measured; beyond, a sample of them is.
    pub most_pairs: usize,
    /// Seed of the routing.
    pub seed: u64,
    /// The model whose tokens are sent.
    pub tokens: ModelTokens,
}

/// What happens, for whoever shows it.
#[derive(Debug)]
pub enum NetworkEvent<'a> {
    /// So many transfers are to be measured.
    Planned(usize),
    /// One is measured or refused.
    Done(&'a str),
}

/// Measures everything; the result is whole on rank 0 and nothing on the others.
pub fn measure(
    ranks: &dyn Communicator,
    options: &NetworkOptions,
    tell: &mut dyn FnMut(NetworkEvent),
) -> Option<FleetNetwork> {
    let sizes: Vec<u64> = SIZES.into_iter().filter(|bytes| *bytes <= options.largest_bytes).collect();
    let pairs = pairs::chosen(ranks.size(), options.most_pairs);
    let counts = counts(ranks.size());
    let per_count = BulkTransfer::KINDS.len() * sizes.len() + options.tokens.loads.len() * TOKENS.len() * 2;
    tell(NetworkEvent::Planned(pairs.len() + counts.len() * per_count));
    let mut own = FleetNetwork {
        memory: MessageMemory::Host,
        all_pairs: pairs::is_all(&pairs, ranks.size()),
        pairs: Vec::new(),
        collectives: Vec::new(),
        refused: Vec::new(),
    };
    for &(from, to) in &pairs {
        ranks.wait();
        pairs::measure(ranks, (from, to), &sizes, options.budget, &mut own);
        tell(NetworkEvent::Done(&format!("messages between rank {from} and rank {to}")));
    }
    for &count in &counts {
        // Those that do not take part leave the processors to those that do.
        ranks.wait();
        if let Some(members) = ranks.first(count) {
            of_members(members.as_ref(), &sizes, options, &mut own, tell);
        }
    }
    ranks.wait();
    joined(ranks, own)
}

/// 2, 4, 8 and so on, and all of them.
fn counts(size: u32) -> Vec<u32> {
    let doubled = std::iter::successors(Some(2u32), |count| count.checked_mul(2));
    let mut counts: Vec<u32> = doubled.take_while(|count| *count < size).collect();
    counts.extend((size >= 2).then_some(size));
    counts
}

/// All collectives of these ranks.
fn of_members(
    members: &dyn Communicator,
    sizes: &[u64],
    options: &NetworkOptions,
    own: &mut FleetNetwork,
    tell: &mut dyn FnMut(NetworkEvent),
) {
    for kind in BulkTransfer::KINDS {
        for &bytes in sizes {
            let mut bulk = BulkTransfer::new(kind, members, bytes);
            let name = format!("{} of {} bytes over {} ranks", kind.name(), bulk.bytes(), members.size());
            let sampled = sampling::sample(members, &mut bulk, options.budget);
            keep(members, own, &name, sampled, |timing| bulk.described(members, timing));
            tell(NetworkEvent::Done(&name));
        }
    }
    for experts in &options.tokens.loads {
        for tokens in TOKENS {
            let routed = tokens::routed(members, experts, tokens, options.seed);
            for mut exchange in TokenExchange::both_ways(members, &options.tokens, experts, &routed, tokens) {
                let (kind, load) = (exchange.kind().name(), experts.load.name());
                let name = format!("{kind} of {tokens} tokens per rank, {load}, over {} ranks", members.size());
                let busiest = exchange.busiest();
                if busiest > 0 && busiest <= options.largest_bytes.saturating_mul(MOST_TRAFFIC) {
                    exchange.fill(members);
                    let sampled = sampling::sample(members, &mut exchange, options.budget);
                    keep(members, own, &name, sampled, |timing| exchange.described(members, timing));
                }
                tell(NetworkEvent::Done(&name));
            }
        }
    }
}

/// Every member has the same result; the first keeps it.
fn keep(
    members: &dyn Communicator,
    own: &mut FleetNetwork,
    name: &str,
    sampled: SampledTransfer,
    described: impl FnOnce(TransferTiming) -> CollectiveTime,
) {
    if members.rank() != 0 {
        return;
    }
    match sampled {
        SampledTransfer::Timed(timing) => own.collectives.push(described(timing)),
        SampledTransfer::Wrong { rank, reason } => {
            own.refused.push(RefusedTransfer { what: name.to_owned(), rank, reason })
        }
    }
}

/// What all ranks have kept, on rank 0.
fn joined(ranks: &dyn Communicator, own: FleetNetwork) -> Option<FleetNetwork> {
    let all = ranks.gather(&serde_json::to_vec(&own).unwrap_or_default());
    if ranks.rank() != 0 {
        return None;
    }
    let parts = all.iter().filter_map(|bytes| serde_json::from_slice::<FleetNetwork>(bytes).ok());
    let empty = FleetNetwork { pairs: Vec::new(), collectives: Vec::new(), refused: Vec::new(), ..own };
    let mut whole = parts.fold(empty, |mut whole, part| {
        whole.pairs.extend(part.pairs);
        whole.collectives.extend(part.collectives);
        whole.refused.extend(part.refused);
        whole
    });
    whole.pairs.sort_by_key(|pair| (pair.from, pair.to, pair.bytes));
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::super::faulty::Faulty;
    use super::super::in_process::on_ranks;
    use super::*;
    use crate::record::FleetCollective;

    fn options() -> NetworkOptions {
        let tokens = ModelTokens {
            model: "small".to_owned(),
            dispatch_bytes: 96,
            combine_bytes: 128,
            loads: vec![GateWeights::uniform(16, 2), GateWeights::power_law(16, 2)],
        };
        NetworkOptions { largest_bytes: 4 << 10, budget: Seconds::new(1e-3), most_pairs: 100, seed: 1, tokens }
    }

    #[test]
    fn every_pair_and_every_collective_is_measured_over_2_and_over_all_ranks() {
        let all = on_ranks(3, |ranks| measure(ranks, &options(), &mut |_| {}));
        assert!(all[1].is_none() && all[2].is_none());
        let network = all[0].clone().unwrap();
        assert!(network.all_pairs && network.refused.is_empty(), "{:?}", network.refused);
        assert_eq!(network.pairs.len(), 3 * 2);
        let bulk = network.collectives.iter().filter(|one| one.traffic.is_none()).count();
        assert_eq!(bulk, 2 * 3 * 2, "two counts of ranks, three collectives, two sizes");
        for kind in [FleetCollective::Dispatch, FleetCollective::Combine] {
            for ranks in [2, 3] {
                let of = |one: &&CollectiveTime| one.collective == kind && one.ranks == ranks;
                assert!(network.collectives.iter().filter(of).count() >= 4, "{kind:?} over {ranks}");
            }
        }
        let most_sent =
            |one: &CollectiveTime| one.traffic.as_ref().map(|traffic| (traffic.most_sent, traffic.most_received));
        let dispatch = network.collectives.iter().find(|one| one.collective == FleetCollective::Dispatch).unwrap();
        let (sent, received) = most_sent(dispatch).unwrap();
        assert_eq!(dispatch.bytes, sent.max(received));
    }

    #[test]
    fn wrong_data_on_one_rank_is_refused_everywhere_and_never_timed() {
        let all = on_ranks(3, |ranks| {
            let inner = ranks.first(3).unwrap();
            measure(&Faulty { inner, rank: 1 }, &options(), &mut |_| {})
        });
        let network = all[0].clone().unwrap();
        // Rank 1 takes part in all of them; of a few tokens none may be for it.
        assert!(network.collectives.iter().all(|one| one.traffic.is_some()), "{:?}", network.collectives);
        assert!(network.pairs.iter().all(|pair| (pair.from, pair.to) == (0, 2)), "{:?}", network.pairs);
        assert!(network.refused.len() > 12);
        assert!(network.refused.iter().any(|one| one.rank == 1 && one.what.starts_with("all-reduce of")));
        let gather = network.refused.iter().find(|one| one.what.starts_with("all-gather")).unwrap();
        assert!(gather.reason.contains("of what rank") && gather.reason.contains("is wrong"), "{gather:?}");
    }

    #[test]
    fn one_rank_alone_has_no_network_and_that_is_no_failure() {
        let network = on_ranks(1, |ranks| measure(ranks, &options(), &mut |_| {})).remove(0).unwrap();
        assert!(network.pairs.is_empty() && network.collectives.is_empty() && network.all_pairs);
    }

    #[test]
    fn collectives_go_over_2_4_8_and_so_on_and_over_all() {
        assert_eq!(counts(384), [2, 4, 8, 16, 32, 64, 128, 256, 384]);
        assert_eq!((counts(1), counts(2), counts(4)), (vec![], vec![2], vec![2, 4]));
    }
}
