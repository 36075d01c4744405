//! Dispatch and combine: tokens to the ranks of their experts, and back, as a gate routes them.

use super::super::communicator::Communicator;
use super::payload::{self, POISON};
use super::sampling::Transfer;
use crate::kernels::routing::experts_by_weight;
use crate::record::{CollectiveTime, FleetCollective, TokenLoad, TokenTraffic, TransferTiming};

/// The tokens of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelTokens {
    /// The model's name.
    pub model: String,
    /// Size of a token on its way to an expert.
    pub dispatch_bytes: u32,
    /// Size of an expert's output on its way back.
    pub combine_bytes: u32,
    /// How tokens spread over experts: one dispatch and one combine each.
    pub loads: Vec<GateWeights>,
}

/// A router's choice.
#[derive(Debug, Clone, PartialEq)]
pub struct GateWeights {
    /// Where the weights come from.
    pub load: TokenLoad,
    /// By expert, how likely a token visits it, up to a common factor.
    pub weights: Vec<f64>,
    /// Experts per token.
    pub top_k: u32,
}

impl GateWeights {
    /// Each expert equally likely.
    pub fn uniform(experts: usize, top_k: u32) -> Self {
        Self { load: TokenLoad::Uniform, weights: vec![1.0; experts], top_k }
    }

    /// Expert `e` as likely as `1 / (e + 1)`.
    pub fn power_law(experts: usize, top_k: u32) -> Self {
        let weights = (0..experts).map(|expert| 1.0 / (expert as f64 + 1.0)).collect();
        Self { load: TokenLoad::PowerLaw, weights, top_k }
    }

    /// As a gate has routed.
    pub fn measured(tokens_per_expert: &[u32], top_k: u32) -> Self {
        let weights = tokens_per_expert.iter().copied().map(f64::from).collect();
        Self { load: TokenLoad::Measured, weights, top_k }
    }
}

/// Tokens that each rank sends to each rank: by sender, then by receiver.
pub(super) type RoutedTokens = Vec<Vec<u32>>;

/// Routes `tokens` tokens of each rank. A token goes once to each rank that holds one of its experts, its own included;
/// experts lie on the ranks in order, and each rank draws its own.
pub(super) fn routed(ranks: &dyn Communicator, experts: &GateWeights, tokens: u32, seed: u64) -> RoutedTokens {
    let (size, count) = (ranks.size() as usize, experts.weights.len());
    let own_seed = seed.wrapping_add(u64::from(ranks.rank()) << 32);
    let slots = experts_by_weight(&experts.weights, tokens as usize, experts.top_k as usize, own_seed);
    let mut sent = vec![0u32; size];
    for token in slots.chunks(experts.top_k as usize) {
        let mut visited: Vec<usize> = token.iter().map(|expert| *expert as usize * size / count).collect();
        visited.sort_unstable();
        visited.dedup();
        visited.iter().filter_map(|rank| sent.get_mut(*rank).map(|sent| *sent += 1)).for_each(drop);
    }
    let told: Vec<u8> = sent.iter().flat_map(|tokens| tokens.to_le_bytes()).collect();
    let row = |bytes: Vec<u8>| bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    ranks.share(&told).into_iter().map(row).collect()
}

/// One way of the tokens.
pub(super) struct TokenExchange {
    kind: FleetCollective,
    traffic: TokenTraffic,
    /// Bytes to and from each rank.
    sent: Vec<usize>,
    received: Vec<usize>,
    out: Vec<u8>,
    into: Vec<u8>,
}

impl TokenExchange {
    /// The dispatch and the combine of some tokens.
    pub(super) fn both_ways(
        ranks: &dyn Communicator,
        model: &ModelTokens,
        experts: &GateWeights,
        routed: &RoutedTokens,
        tokens: u32,
    ) -> [Self; 2] {
        let back: RoutedTokens = (0..routed.len())
            .map(|from| routed.iter().map(|row| row.get(from).copied().unwrap_or_default()).collect())
            .collect();
        let way = |kind, tokens_sent: &RoutedTokens, tokens_back: &RoutedTokens, bytes: u32| {
            let token_bytes = u64::from(bytes);
            let busiest = |rows: &RoutedTokens| {
                let others = rows.iter().enumerate().map(|(own, row)| {
                    row.iter().enumerate().filter(|(rank, _)| *rank != own).map(|(_, n)| u64::from(*n)).sum::<u64>()
                });
                others.max().unwrap_or(0) * token_bytes
            };
            let of_own = |rows: &RoutedTokens| -> Vec<usize> {
                let row = rows.get(ranks.rank() as usize).map_or(&[][..], Vec::as_slice);
                // What a rank sends to itself stays where it is.
                let to = |(rank, tokens): (u32, &u32)| if rank == ranks.rank() { 0 } else { *tokens as usize };
                (0u32..).zip(row).map(|of| to(of) * bytes as usize).collect()
            };
            let traffic = TokenTraffic {
                load: experts.load,
                model: model.model.clone(),
                tokens,
                experts: u32::try_from(experts.weights.len()).unwrap_or(u32::MAX),
                top_k: experts.top_k,
                token_bytes,
                most_sent: busiest(tokens_sent),
                most_received: busiest(tokens_back),
            };
            Self {
                kind,
                traffic,
                sent: of_own(tokens_sent),
                received: of_own(tokens_back),
                out: Vec::new(),
                into: Vec::new(),
            }
        };
        [
            way(FleetCollective::Dispatch, routed, &back, model.dispatch_bytes),
            way(FleetCollective::Combine, &back, routed, model.combine_bytes),
        ]
    }

    /// Dispatch or combine.
    pub(super) fn kind(&self) -> FleetCollective {
        self.kind
    }

    /// The most bytes that one rank sends to others, or receives from them.
    pub(super) fn busiest(&self) -> u64 {
        self.traffic.most_sent.max(self.traffic.most_received)
    }

    /// Makes the buffers.
    pub(super) fn fill(&mut self, ranks: &dyn Communicator) {
        self.out = vec![0; self.sent.iter().sum()];
        self.into = vec![POISON; self.received.iter().sum()];
        let mut rest = self.out.as_mut_slice();
        for (to, &bytes) in (0u32..).zip(&self.sent) {
            let (message, behind) = std::mem::take(&mut rest).split_at_mut(bytes);
            payload::fill(message, ranks.rank(), to);
            rest = behind;
        }
    }

    /// What is kept of it, with this time.
    pub(super) fn described(&self, ranks: &dyn Communicator, timing: TransferTiming) -> CollectiveTime {
        CollectiveTime {
            collective: self.kind,
            first_rank: 0,
            ranks: ranks.size(),
            bytes: self.busiest(),
            traffic: Some(self.traffic.clone()),
            timing,
        }
    }
}

impl Transfer for TokenExchange {
    fn poison(&mut self) {
        self.into.fill(POISON);
    }

    fn run(&mut self, ranks: &dyn Communicator) {
        ranks.all_to_all(&self.out, &self.sent, &mut self.into, &self.received);
    }

    fn check(&self, ranks: &dyn Communicator) -> Result<(), String> {
        let mut rest = self.into.as_slice();
        for (from, &bytes) in (0u32..).zip(&self.received) {
            let (message, behind) = rest.split_at(bytes);
            payload::check(message, from, ranks.rank())?;
            rest = behind;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::in_process::on_ranks;
    use super::*;

    #[test]
    fn a_token_goes_once_to_each_rank_that_holds_one_of_its_experts() {
        let all = on_ranks(4, |ranks| routed(ranks, &GateWeights::uniform(16, 4), 100, 1));
        assert!(all.iter().all(|rows| rows == &all[0]), "every rank knows the same");
        for row in &all[0] {
            let copies: u32 = row.iter().sum();
            assert!((100..=400).contains(&copies), "{row:?}");
            // 4 of 16 experts without repetition miss one of four ranks in C(12, 4) / C(16, 4) = 27 % of cases.
            assert!(row.iter().all(|tokens| (60..=88).contains(tokens)), "{row:?}");
        }
    }

    #[test]
    fn a_skewed_gate_loads_the_rank_of_the_hot_experts_most() {
        let all = on_ranks(4, |ranks| routed(ranks, &GateWeights::power_law(64, 2), 500, 1));
        let received: Vec<u32> = (0..4).map(|to| all[0].iter().map(|row| row[to]).sum()).collect();
        assert!(received.windows(2).all(|pair| pair[0] > pair[1]), "{received:?}");
    }

    #[test]
    fn a_measured_gate_sends_nothing_to_experts_that_nobody_visited() {
        let counts = [vec![5u32; 8], vec![0; 8]].concat();
        let all = on_ranks(2, |ranks| routed(ranks, &GateWeights::measured(&counts, 2), 50, 1));
        assert!(all[0].iter().all(|row| row == &[50, 0]), "{:?}", all[0]);
    }
}
