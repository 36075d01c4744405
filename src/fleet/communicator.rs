//! What is asked of MPI.

/// Some ranks that talk to each other. A call is made by all of them in the same order, but for [`Communicator::send`] and
/// [`Communicator::receive`], which pair up.
///
/// Nothing here fails: an MPI library ends all ranks where a transfer fails.
pub trait Communicator {
    /// The number of this rank, from 0.
    fn rank(&self) -> u32;

    /// How many ranks there are.
    fn size(&self) -> u32;

    /// Returns when all ranks have called it, and as soon as it can: processors may be kept busy meanwhile.
    fn barrier(&self);

    /// The same for long waits: processors are left to others meanwhile, and it returns within a millisecond or so.
    fn wait(&self);

    /// Everyone's bytes, by rank, on rank 0; nothing on the others.
    fn gather(&self, own: &[u8]) -> Vec<Vec<u8>>;

    /// Everyone's bytes, by rank, on every rank.
    fn share(&self, own: &[u8]) -> Vec<Vec<u8>>;

    /// Replaces each value by the largest that any rank has in its place.
    fn largest(&self, values: &mut [f64]);

    /// Sends a message to another rank.
    fn send(&self, to: u32, message: &[u8]);

    /// Receives a message of this very length from another rank.
    fn receive(&self, from: u32, message: &mut [u8]);

    /// Tells another rank a number, which is no part of what is measured.
    fn tell(&self, to: u32, number: u64) {
        self.send(to, &number.to_le_bytes());
    }

    /// Hears such a number from another rank.
    fn hear(&self, from: u32) -> u64 {
        let mut bytes = [0; 8];
        self.receive(from, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// The sum of everyone's `own`, on every rank.
    fn all_reduce(&self, own: &[f32], sum: &mut [f32]);

    /// Everyone's shards, by rank, on every rank; each shard is as long as `own`.
    fn all_gather(&self, own: &[u8], whole: &mut [u8]);

    /// The sum of everyone's `own`, of which rank `r` gets the shard at `r * shard.len()`.
    fn reduce_scatter(&self, own: &[f32], shard: &mut [f32]);

    /// Sends to each rank the next `sent[rank]` bytes of `out`, and puts the next `received[rank]` bytes of each into `into`.
    fn all_to_all(&self, out: &[u8], sent: &[usize], into: &mut [u8], received: &[usize]);

    /// The first so many ranks among themselves; `None` for all others. Every rank calls it.
    fn first(&self, ranks: u32) -> Option<Box<dyn Communicator + '_>>;
}
