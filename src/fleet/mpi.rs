//! MPI: the only file that knows the library.

use std::thread::sleep;
use std::time::Duration;

use mpi::collective::SystemOperation;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::{Color, SimpleCommunicator};
use mpi::traits::{Communicator as _, CommunicatorCollectives as _, Destination as _, Source as _};
use mpi::{Count, Threading};

use super::communicator::Communicator;

/// How long a rank sleeps between two looks while it waits.
const NAP: Duration = Duration::from_micros(300);
/// A long message is sent in pieces of this many bytes, since MPI counts in 32 bits.
const PIECE: usize = 1 << 30;

/// MPI, from its start to the end of the program.
pub struct Mpi {
    world: MpiRanks,
    /// Ends MPI when it is dropped, so it is dropped last.
    _universe: Universe,
}

impl Mpi {
    /// Starts MPI. Without `mpirun` or `srun` there is one rank.
    ///
    /// # Errors
    /// One line: MPI was started before.
    pub fn start() -> Result<Self, String> {
        let (universe, _) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or("MPI cannot be started a second time; run the program by itself")?;
        Ok(Self { world: MpiRanks(universe.world()), _universe: universe })
    }

    /// All ranks.
    pub fn world(&self) -> MpiRanks {
        MpiRanks(self.world.0.duplicate())
    }

    /// The library as it names itself, its first line.
    pub fn library() -> String {
        let named = mpi::environment::library_version().unwrap_or_default();
        // MPICH writes a tab between words, and how it was configured behind the first lines.
        let first = named.lines().next().unwrap_or_default();
        let words: Vec<&str> = first.split_whitespace().collect();
        crate::printable::printable(words.join(" ").trim_end_matches('\0'), 120)
    }

    /// The computer's name in the network.
    pub fn host_name() -> String {
        crate::printable::printable(&mpi::environment::processor_name().unwrap_or_default(), 200)
    }

    /// The lowest rank with which this one shares memory.
    pub fn leader(&self) -> u32 {
        let own = self.world.0.rank();
        let mut lowest = own;
        self.world.0.split_shared(own).all_reduce_into(&own, &mut lowest, SystemOperation::min());
        u32::try_from(lowest).unwrap_or_default()
    }
}

/// Ranks that talk through MPI.
pub struct MpiRanks(SimpleCommunicator);

fn count(value: usize) -> Count {
    Count::try_from(value).unwrap_or(Count::MAX)
}

/// An empty vector of bytes has the address 1, which OpenMPI reads as `MPI_IN_PLACE`. This gives it that of a byte.
fn addressed(bytes: &[u8]) -> &[u8] {
    static BYTE: [u8; 1] = [0];
    if bytes.is_empty() { &BYTE[..0] } else { bytes }
}

/// Counts and places of consecutive parts.
fn parts(lengths: &[usize]) -> (Vec<Count>, Vec<Count>) {
    let places = lengths.iter().scan(0, |at, length| {
        let place = *at;
        *at += length;
        Some(count(place))
    });
    (lengths.iter().map(|length| count(*length)).collect(), places.collect())
}

impl MpiRanks {
    fn lengths(&self, own: usize) -> Vec<usize> {
        let mut lengths = vec![0u64; self.size() as usize];
        self.0.all_gather_into(&(own as u64), &mut lengths[..]);
        lengths.into_iter().map(|length| usize::try_from(length).unwrap_or(usize::MAX)).collect()
    }

    fn send_in_pieces(&self, to: u32, message: &[u8]) {
        message.chunks(PIECE).for_each(|piece| self.send(to, piece));
    }

    fn receive_in_pieces(&self, from: u32, message: &mut [u8]) {
        message.chunks_mut(PIECE).for_each(|piece| self.receive(from, piece));
    }
}

impl Communicator for MpiRanks {
    fn rank(&self) -> u32 {
        u32::try_from(self.0.rank()).unwrap_or_default()
    }

    fn size(&self) -> u32 {
        u32::try_from(self.0.size()).unwrap_or(1)
    }

    fn barrier(&self) {
        self.0.barrier();
    }

    fn wait(&self) {
        let mut request = self.0.immediate_barrier();
        while let Err(unfinished) = request.test() {
            request = unfinished;
            sleep(NAP);
        }
    }

    fn gather(&self, own: &[u8]) -> Vec<Vec<u8>> {
        let lengths = self.lengths(own.len());
        if self.rank() != 0 {
            self.send_in_pieces(0, own);
            return Vec::new();
        }
        let of = |(rank, length): (u32, usize)| {
            if rank == 0 {
                return own.to_vec();
            }
            let mut bytes = vec![0; length];
            self.receive_in_pieces(rank, &mut bytes);
            bytes
        };
        (0u32..).zip(lengths).map(of).collect()
    }

    fn share(&self, own: &[u8]) -> Vec<Vec<u8>> {
        let lengths = self.lengths(own.len());
        if lengths.iter().all(|length| *length == 0) {
            return vec![Vec::new(); lengths.len()];
        }
        let (counts, places) = parts(&lengths);
        let mut all = vec![0u8; lengths.iter().sum()];
        self.0.all_gather_varcount_into(addressed(own), &mut PartitionMut::new(&mut all[..], counts, places));
        let mut rest = all.as_slice();
        let cut = |length: usize| {
            let (part, behind) = rest.split_at(length);
            rest = behind;
            part.to_vec()
        };
        lengths.into_iter().map(cut).collect()
    }

    fn largest(&self, values: &mut [f64]) {
        let own = values.to_vec();
        self.0.all_reduce_into(&own[..], values, SystemOperation::max());
    }

    fn send(&self, to: u32, message: &[u8]) {
        self.0.process_at_rank(count(to as usize)).send(addressed(message));
    }

    fn receive(&self, from: u32, message: &mut [u8]) {
        self.0.process_at_rank(count(from as usize)).receive_into(message);
    }

    fn all_reduce(&self, own: &[f32], sum: &mut [f32]) {
        self.0.all_reduce_into(own, sum, SystemOperation::sum());
    }

    fn all_gather(&self, own: &[u8], whole: &mut [u8]) {
        self.0.all_gather_into(own, whole);
    }

    fn reduce_scatter(&self, own: &[f32], shard: &mut [f32]) {
        self.0.reduce_scatter_block_into(own, shard, SystemOperation::sum());
    }

    fn all_to_all(&self, out: &[u8], sent: &[usize], into: &mut [u8], received: &[usize]) {
        let ((sent, from), (received, at)) = (parts(sent), parts(received));
        let (out, mut byte) = (Partition::new(addressed(out), sent, from), [0]);
        let into = if into.is_empty() { &mut byte[..0] } else { into };
        self.0.all_to_all_varcount_into(&out, &mut PartitionMut::new(into, received, at));
    }

    fn first(&self, ranks: u32) -> Option<Box<dyn Communicator + '_>> {
        let color = if self.rank() < ranks { Color::with_value(0) } else { Color::undefined() };
        let members = self.0.split_by_color(color)?;
        Some(Box::new(Self(members)))
    }
}
