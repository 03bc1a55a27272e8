//! What the server counts, since its start.

use std::sync::atomic::{AtomicU64, Ordering};

use super::answer::Transport;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters that only rise; `connections_open` alone is a gauge.
        #[derive(Debug, Default)]
        pub struct Metrics { $($(#[$doc])* pub $name: AtomicU64,)* }

        impl Metrics {
            /// Every counter with its name, for the page of metrics.
            pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Messages received, by transport.
    requests_udp,
    requests_tcp,
    /// Answers sent, by code.
    answers_noerror,
    answers_nxdomain,
    answers_refused,
    answers_formerr,
    answers_servfail,
    answers_other,
    /// Answers that told the asker to come back by TCP.
    answers_truncated,
    /// Messages not answered: responses, fragments, and what the send buffer had no room for.
    dropped,
    /// TCP connections accepted, and those open now.
    connections_accepted,
    connections_open,
    /// Whole zones sent, refused to strangers, broken off.
    transfers_sent,
    transfers_refused,
    transfers_failed,
    notifies_sent,
    notifies_acknowledged,
    zones_published,
    zones_refused,
    zones_retired,
    /// Publishes that are served but not on disk.
    store_failures,
}

impl Metrics {
    /// Counts an answer by what its header says.
    pub(crate) fn count_answer(&self, transport: Transport, answer: &[u8]) {
        let [Some(flags), Some(codes)] = [answer.get(2), answer.get(3)] else { return };
        add(match transport {
            Transport::Udp => &self.requests_udp,
            Transport::Tcp => &self.requests_tcp,
        });
        add(match codes & 0x0f {
            0 => &self.answers_noerror,
            1 => &self.answers_formerr,
            2 => &self.answers_servfail,
            3 => &self.answers_nxdomain,
            5 => &self.answers_refused,
            _ => &self.answers_other,
        });
        if flags & 0x02 != 0 {
            add(&self.answers_truncated);
        }
    }
}

pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
