//! A communicator that brings wrong data on one rank, so that a test sees it refused.

use super::communicator::Communicator;

/// Flips a bit of everything that one rank receives in a collective or a message; what ranks agree on stays right.
pub struct Faulty<'a> {
    /// Does the work.
    pub inner: Box<dyn Communicator + 'a>,
    /// The rank.
    pub rank: u32,
}

impl Faulty<'_> {
    fn spoil(&self, bytes: &mut [u8]) {
        if self.rank == self.inner.rank()
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 1;
        }
    }

    fn spoil_sum(&self, sum: &mut [f32]) {
        if self.rank == self.inner.rank()
            && let Some(last) = sum.last_mut()
        {
            *last += 1.0;
        }
    }
}

impl Communicator for Faulty<'_> {
    fn rank(&self) -> u32 {
        self.inner.rank()
    }

    fn size(&self) -> u32 {
        self.inner.size()
    }

    fn barrier(&self) {
        self.inner.barrier();
    }

    fn wait(&self) {
        self.inner.wait();
    }

    fn gather(&self, own: &[u8]) -> Vec<Vec<u8>> {
        self.inner.gather(own)
    }

    fn share(&self, own: &[u8]) -> Vec<Vec<u8>> {
        self.inner.share(own)
    }

    fn largest(&self, values: &mut [f64]) {
        self.inner.largest(values);
    }

    fn send(&self, to: u32, message: &[u8]) {
        self.inner.send(to, message);
    }

    fn receive(&self, from: u32, message: &mut [u8]) {
        self.inner.receive(from, message);
        self.spoil(message);
    }

    fn tell(&self, to: u32, number: u64) {
        self.inner.tell(to, number);
    }

    fn hear(&self, from: u32) -> u64 {
        self.inner.hear(from)
    }

    fn all_reduce(&self, own: &[f32], sum: &mut [f32]) {
        self.inner.all_reduce(own, sum);
        self.spoil_sum(sum);
    }

    fn all_gather(&self, own: &[u8], whole: &mut [u8]) {
        self.inner.all_gather(own, whole);
        self.spoil(whole);
    }

    fn reduce_scatter(&self, own: &[f32], shard: &mut [f32]) {
        self.inner.reduce_scatter(own, shard);
        self.spoil_sum(shard);
    }

    fn all_to_all(&self, out: &[u8], sent: &[usize], into: &mut [u8], received: &[usize]) {
        self.inner.all_to_all(out, sent, into, received);
        self.spoil(into);
    }

    fn first(&self, ranks: u32) -> Option<Box<dyn Communicator + '_>> {
        let inner = self.inner.first(ranks)?;
        Some(Box::new(Faulty { inner, rank: self.rank }))
    }
}
