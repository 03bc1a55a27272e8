//! Ways between machines. What is sent over a way comes in order, as over TCP: a lost packet delays it and what is
//! behind it; over a cut way nothing comes, and what was on its way is lost. While a way is scattered, calls go over one
//! connection after another, and what waits in an old one is overtaken.

use std::time::Duration;

use super::chance::Chance;
use super::queue::Moment;

/// The retransmission timeout of TCP at the least (Linux: `TCP_RTO_MIN`); it doubles each time.
const RETRANSMITTED_AFTER: Duration = Duration::from_millis(200);
const RETRANSMITTED_MOST: u32 = 5;
/// What waits in the buffers of a connection that is given up.
const SCATTERED_BY: [Duration; 3] = [Duration::ZERO, Duration::from_millis(80), Duration::from_millis(2_000)];

#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub delay: Duration,
    pub jitter: Duration,
    /// Of a thousand packets.
    pub loss_permille: u64,
    /// How many of the faults under way cut it.
    pub cuts: u32,
    /// And how many scatter it.
    pub scatters: u32,
    /// When it was cut last: what was sent before never comes.
    cut: u32,
    last: Moment,
}

pub struct Net {
    machines: usize,
    ways: Vec<Way>,
}

/// When something comes, if the way has not been cut since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coming {
    pub at: Moment,
    pub cut: u32,
}

impl Net {
    pub fn new(machines: usize, way: impl Fn(usize, usize) -> (Duration, Duration)) -> Net {
        let ways = (0..machines * machines).map(|n| {
            let (delay, jitter) = way(n / machines, n % machines);
            Way { delay, jitter, loss_permille: 0, cuts: 0, scatters: 0, cut: 0, last: Moment::default() }
        });
        Net { machines, ways: ways.collect() }
    }

    pub fn way(&self, from: usize, to: usize) -> &Way {
        &self.ways[from * self.machines + to]
    }

    pub fn way_mut(&mut self, from: usize, to: usize) -> &mut Way {
        &mut self.ways[from * self.machines + to]
    }

    pub fn cut(&mut self, from: usize, to: usize) {
        let way = self.way_mut(from, to);
        way.cuts += 1;
        way.cut += 1;
    }

    pub fn join(&mut self, from: usize, to: usize) {
        let way = self.way_mut(from, to);
        way.cuts = way.cuts.saturating_sub(1);
    }

    pub fn is_open(&self, from: usize, to: usize) -> bool {
        self.way(from, to).cuts == 0
    }

    /// Whether whoever asks hears the answer.
    pub fn is_open_both_ways(&self, one: usize, other: usize) -> bool {
        self.is_open(one, other) && self.is_open(other, one)
    }

    /// None: it is lost. `is_call`: it belongs to no stream, and need not come in order.
    pub fn send(
        &mut self,
        from: usize,
        to: usize,
        is_call: bool,
        now: Moment,
        chance: &Chance,
    ) -> Option<Coming> {
        let way = self.way_mut(from, to);
        if way.cuts > 0 {
            return None;
        }
        // A connection that loses more is given up and made anew.
        let loss = way.loss_permille.min(500);
        let mut takes = way.delay + chance.between(Duration::ZERO, way.jitter);
        let mut again = RETRANSMITTED_AFTER;
        for _ in 0..RETRANSMITTED_MOST {
            if !chance.permille(loss) {
                break;
            }
            takes += again;
            again = (again * 2).min(Duration::from_secs(1));
        }
        if is_call && way.scatters > 0 {
            let waits = chance.between(Duration::ZERO, *chance.pick(&SCATTERED_BY));
            return Some(Coming { at: now + takes + waits, cut: way.cut });
        }
        let at = (now + takes).max(way.last);
        way.last = at;
        Some(Coming { at, cut: way.cut })
    }

    /// Whether what was to come then still does.
    pub fn comes(&self, from: usize, to: usize, coming: Coming) -> bool {
        self.way(from, to).cut == coming.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net() -> Net {
        Net::new(2, |_, _| (Duration::from_millis(20), Duration::from_millis(5)))
    }

    #[test]
    fn what_is_sent_comes_in_order_and_a_loss_holds_up_what_is_behind() {
        let (mut net, chance) = (net(), Chance::new(1));
        net.way_mut(0, 1).loss_permille = 200;
        let coming: Vec<Moment> =
            (0..500).map(|n| net.send(0, 1, true, Moment(n * 1_000_000), &chance).unwrap().at).collect();
        assert!(coming.is_sorted());
        let longest = (0..500).map(|n| coming[n].since(Moment(n as u64 * 1_000_000))).max().unwrap();
        assert!(longest >= RETRANSMITTED_AFTER, "{longest:?}");
    }

    #[test]
    fn calls_overtake_each_other_over_a_way_that_is_scattered_and_streams_do_not() {
        let (mut net, chance) = (net(), Chance::new(1));
        net.way_mut(0, 1).scatters += 1;
        let mut coming = |is_call| {
            let sent = (0..100).map(|n| net.send(0, 1, is_call, Moment(n * 1_000_000), &chance).unwrap().at);
            sent.collect::<Vec<Moment>>()
        };
        assert!(coming(false).is_sorted());
        assert!(!coming(true).is_sorted());
    }

    #[test]
    fn a_cut_loses_what_is_on_its_way_and_goes_one_way() {
        let (mut net, chance) = (net(), Chance::new(1));
        let coming = net.send(0, 1, false, Moment(0), &chance).unwrap();
        assert!(net.comes(0, 1, coming));
        net.cut(0, 1);
        assert!(!net.comes(0, 1, coming) && !net.is_open_both_ways(0, 1));
        assert_eq!(net.send(0, 1, false, Moment(0), &chance), None);
        assert!(net.send(1, 0, false, Moment(0), &chance).is_some());
        net.cut(0, 1);
        net.join(0, 1);
        assert!(!net.is_open(0, 1), "another cuts it yet");
        net.join(0, 1);
        assert!(net.is_open_both_ways(0, 1) && !net.comes(0, 1, coming));
    }
}
