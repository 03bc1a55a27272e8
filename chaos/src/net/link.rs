//! How one ordered pair of regions is joined, and what was seen of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Error;

/// The way from one region to another; the way back is its own. The default passes all at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The least a frame takes.
    pub delay: Duration,
    /// What it takes on top, at most; evenly spread. A frame that would overtake waits for the one before
    /// it, so that a dense stream takes longer than a thin one, as in a real queue.
    pub jitter: Duration,
    /// The share of frames that are lost.
    pub loss: f64,
    /// The share that arrives twice.
    pub duplicate: f64,
    /// The share that is held back by another `jitter` (1 ms at least), while later ones overtake.
    pub reorder: f64,
    /// The share of TCP segments that become a reset: the receiver has lost the connection, and the sender does not
    /// know yet.
    pub reset: f64,
    /// The share of TCP connections whose first answer comes as other bytes. Of that direction in which answers go.
    pub garbage: f64,
    /// Nothing passes.
    pub cut: bool,
    /// What becomes of frames under way when `cut` is set.
    pub in_flight: InFlight,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum InFlight {
    #[default]
    Dropped,
    Delivered,
}

impl Link {
    pub fn delayed(delay: Duration) -> Link {
        Link { delay, ..Link::default() }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let shares = [self.loss, self.duplicate, self.reorder, self.reset, self.garbage];
        match shares.into_iter().find(|share| !(0.0..=1.0).contains(share)) {
            Some(share) => Err(Error::Share(share)),
            None => Ok(()),
        }
    }
}

/// What has become of the frames of one ordered pair. At any moment
/// `offered + duplicated = delivered + lost + cut + overflowed + refused + in_flight`, in frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub offered: Traffic,
    pub delivered: Traffic,
    pub lost: u64,
    /// Dropped because the link was cut, in flight or at its beginning.
    pub cut: u64,
    /// Dropped because the queue was full.
    pub overflowed: u64,
    /// Dropped by the kernel of the region it was for.
    pub refused: u64,
    pub duplicated: u64,
    pub reordered: u64,
    /// Became a reset, or other bytes.
    pub spoiled: u64,
    pub in_flight: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub frames: u64,
    /// Of IP packets, headers included.
    pub bytes: u64,
}

impl Traffic {
    pub(super) fn add(&mut self, frame: &[u8]) {
        self.frames += 1;
        self.bytes += frame.len() as u64;
    }
}
