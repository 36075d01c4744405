//! The collectives over a whole buffer: all-reduce, all-gather, reduce-scatter.

use super::super::communicator::Communicator;
use super::payload::{self, POISON};
use super::sampling::Transfer;
use crate::record::{CollectiveTime, FleetCollective, TransferTiming};

/// Bytes of an element of a sum.
const ELEMENT: usize = size_of::<f32>();

/// One of them, with its buffers.
pub(super) enum BulkTransfer {
    /// Own operand and the sum.
    AllReduce(Vec<f32>, Vec<f32>),
    /// Own shard and the whole.
    AllGather(Vec<u8>, Vec<u8>),
    /// Own operand and the shard of the sum.
    ReduceScatter(Vec<f32>, Vec<f32>),
}

impl BulkTransfer {
    /// All of them.
    pub(super) const KINDS: [FleetCollective; 3] =
        [FleetCollective::AllReduce, FleetCollective::AllGather, FleetCollective::ReduceScatter];

    /// Buffers of about so many bytes, as [`CollectiveTime::bytes`] counts them: shards are whole elements, one at least.
    pub(super) fn new(kind: FleetCollective, ranks: &dyn Communicator, bytes: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let (size, rank) = (ranks.size() as usize, ranks.rank());
        let shard = (bytes / ELEMENT).div_ceil(size).max(1);
        let operand = |elements: usize| {
            let mut own = vec![0.0; elements];
            payload::fill_operand(&mut own, rank);
            own
        };
        match kind {
            FleetCollective::AllGather => {
                let mut own = vec![0; shard * ELEMENT];
                payload::fill(&mut own, rank, rank);
                Self::AllGather(own, vec![POISON; shard * ELEMENT * size])
            }
            FleetCollective::ReduceScatter => Self::ReduceScatter(operand(shard * size), vec![0.0; shard]),
            _ => {
                let elements = (bytes / ELEMENT).max(1);
                Self::AllReduce(operand(elements), vec![0.0; elements])
            }
        }
    }

    /// The bytes that are counted.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::AllReduce(own, _) | Self::ReduceScatter(own, _) => size_of_val(own.as_slice()) as u64,
            Self::AllGather(_, whole) => whole.len() as u64,
        }
    }

    /// What is kept of it, with this time.
    pub(super) fn described(&self, ranks: &dyn Communicator, timing: TransferTiming) -> CollectiveTime {
        let collective = match self {
            Self::AllReduce(..) => FleetCollective::AllReduce,
            Self::AllGather(..) => FleetCollective::AllGather,
            Self::ReduceScatter(..) => FleetCollective::ReduceScatter,
        };
        CollectiveTime { collective, first_rank: 0, ranks: ranks.size(), bytes: self.bytes(), traffic: None, timing }
    }
}

impl Transfer for BulkTransfer {
    fn poison(&mut self) {
        match self {
            Self::AllReduce(_, sum) | Self::ReduceScatter(_, sum) => sum.fill(f32::NAN),
            Self::AllGather(_, whole) => whole.fill(POISON),
        }
    }

    fn run(&mut self, ranks: &dyn Communicator) {
        match self {
            Self::AllReduce(own, sum) => ranks.all_reduce(own, sum),
            Self::AllGather(own, whole) => ranks.all_gather(own, whole),
            Self::ReduceScatter(own, shard) => ranks.reduce_scatter(own, shard),
        }
    }

    fn check(&self, ranks: &dyn Communicator) -> Result<(), String> {
        match self {
            Self::AllReduce(_, sum) => payload::check_sum(sum, 0, ranks.size()),
            Self::ReduceScatter(_, shard) => {
                payload::check_sum(shard, ranks.rank() as usize * shard.len(), ranks.size())
            }
            Self::AllGather(own, whole) => {
                let shards = (0u32..).zip(whole.chunks(own.len()));
                shards.into_iter().try_for_each(|(rank, shard)| payload::check(shard, rank, rank))
            }
        }
    }
}
