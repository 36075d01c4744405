//! Ranks as threads of one process: the schedule without MPI.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::communicator::Communicator;

/// The channel from one rank to another.
struct Lane {
    sender: Sender<Vec<u8>>,
    receiver: Mutex<Receiver<Vec<u8>>>,
}

/// One of some threads that talk to each other.
pub(super) struct InProcess {
    rank: u32,
    size: u32,
    /// By sender, then by receiver.
    lanes: Arc<Vec<Vec<Lane>>>,
}

/// Runs so many ranks and gives what each returned.
pub(super) fn on_ranks<T: Send>(size: u32, work: impl Fn(&dyn Communicator) -> T + Sync) -> Vec<T> {
    let lane = || {
        let (sender, receiver) = channel();
        Lane { sender, receiver: Mutex::new(receiver) }
    };
    let lanes: Vec<Vec<Lane>> = (0..size).map(|_| (0..size).map(|_| lane()).collect()).collect();
    let lanes = Arc::new(lanes);
    std::thread::scope(|scope| {
        let ranks: Vec<_> = (0..size)
            .map(|rank| {
                let (lanes, work) = (Arc::clone(&lanes), &work);
                scope.spawn(move || work(&InProcess { rank, size, lanes }))
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

impl InProcess {
    fn put(&self, to: u32, bytes: &[u8]) {
        self.lanes[self.rank as usize][to as usize].sender.send(bytes.to_vec()).unwrap();
    }

    fn take(&self, from: u32) -> Vec<u8> {
        self.lanes[from as usize][self.rank as usize].receiver.lock().unwrap().recv().unwrap()
    }
}

impl Communicator for InProcess {
    fn rank(&self) -> u32 {
        self.rank
    }

    fn size(&self) -> u32 {
        self.size
    }

    fn barrier(&self) {
        self.share(&[]);
    }

    fn wait(&self) {
        self.barrier();
    }

    fn gather(&self, own: &[u8]) -> Vec<Vec<u8>> {
        self.put(0, own);
        if self.rank == 0 { (0..self.size).map(|rank| self.take(rank)).collect() } else { Vec::new() }
    }

    fn share(&self, own: &[u8]) -> Vec<Vec<u8>> {
        (0..self.size).for_each(|rank| self.put(rank, own));
        (0..self.size).map(|rank| self.take(rank)).collect()
    }

    fn largest(&self, values: &mut [f64]) {
        let all = self.share(bytemuck::cast_slice(values));
        for bytes in all {
            for (own, other) in values.iter_mut().zip(bytes.chunks_exact(8)) {
                *own = own.max(f64::from_ne_bytes(other.try_into().unwrap()));
            }
        }
    }

    fn send(&self, to: u32, message: &[u8]) {
        self.put(to, message);
    }

    fn receive(&self, from: u32, message: &mut [u8]) {
        message.copy_from_slice(&self.take(from));
    }

    fn all_reduce(&self, own: &[f32], sum: &mut [f32]) {
        sum.fill(0.0);
        for bytes in self.share(bytemuck::cast_slice(own)) {
            for (sum, other) in sum.iter_mut().zip(bytes.chunks_exact(4)) {
                *sum += f32::from_ne_bytes(other.try_into().unwrap());
            }
        }
    }

    fn all_gather(&self, own: &[u8], whole: &mut [u8]) {
        whole.copy_from_slice(&self.share(own).concat());
    }

    fn reduce_scatter(&self, own: &[f32], shard: &mut [f32]) {
        let mut sum = vec![0.0; own.len()];
        self.all_reduce(own, &mut sum);
        let from = self.rank as usize * shard.len();
        shard.copy_from_slice(&sum[from..from + shard.len()]);
    }

    fn all_to_all(&self, out: &[u8], sent: &[usize], into: &mut [u8], received: &[usize]) {
        let mut from = 0;
        for (rank, &bytes) in (0u32..).zip(sent) {
            self.put(rank, &out[from..from + bytes]);
            from += bytes;
        }
        let mut at = 0;
        for (rank, &bytes) in (0u32..).zip(received) {
            into[at..at + bytes].copy_from_slice(&self.take(rank));
            at += bytes;
        }
    }

    fn first(&self, ranks: u32) -> Option<Box<dyn Communicator + '_>> {
        (self.rank < ranks).then(|| -> Box<dyn Communicator> {
            Box::new(Self { rank: self.rank, size: ranks, lanes: Arc::clone(&self.lanes) })
        })
    }
}
