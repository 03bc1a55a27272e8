//! What all parts of a run stand on: its events, its machines with their clocks and ways, its chance, and what
//! is recorded of it.

use std::time::Duration;

use decision::time::Uptime;

use super::ambush::Phase;
use super::chance::Chance;
use super::clock::Clock;
use super::history::History;
use super::ledger::Ledger;
use super::message::Message;
use super::net::{Coming, Net};
use super::planted::{Around, Bug};
use super::queue::{Moment, Queue};
use super::timer::Timer;
use super::trace::Trace;

/// Longest that a write to a disk which is well takes.
const DISK_MOST: Duration = Duration::from_millis(4);

/// Of what is sent over a way that is scattered.
const REPEATED_PERMILLE: u64 = 150;

pub type Machine = usize;

#[derive(Debug)]
pub enum Event {
    Comes {
        from: Machine,
        to: Machine,
        /// Of the receiver: one that restarted has no such connection.
        life: u32,
        /// None: it has come already, and waited for whom it is for.
        coming: Option<Coming>,
        message: Message,
    },
    Rings {
        machine: Machine,
        life: u32,
        timer: Timer,
    },
    /// A client writes again.
    Writes(Machine),
    /// An operator moves the service, or looks.
    Operates,
    /// Somebody asks a resolver, by its place.
    Resolves(usize),
    Reads,
    /// What ended by itself there is started again.
    StartsAgain(Machine),
    /// By its place in the schedule.
    Begins(usize),
    Ends(usize),
}

pub struct Host {
    pub clock: Clock,
    /// How often it started; what was under way before counts no more.
    pub life: u32,
    /// How many of the faults under way keep it down, and how many paused. What happens to one that is paused waits.
    pub crashes: u32,
    pub pauses: u32,
    /// When it went on after such a time, or the agent on it did.
    pub went_on: Moment,
    /// What happened to it meanwhile.
    pub waiting: Vec<Event>,
    /// The same of the agent alone.
    pub agent_crashes: u32,
    pub freezes: u32,
    pub frozen: Vec<Event>,
    /// How often the agent started.
    pub agent_life: u32,
    /// Faults under way of what clients are served by here.
    pub broken_services: u32,
    /// And those that leave no room on its disk for a server to write.
    pub full_disks: u32,
    /// And those in which its disk reports an error when it is flushed.
    pub failing_flushes: u32,
    /// Those in which a server there is not promoted, or only when they have ended.
    pub failing_promotions: u32,
    /// Those in which a server there does not answer its agent, or does what it asks and the answer is lost.
    pub hanging_calls: u32,
    pub lost_answers: u32,
    pub hanging_promotions: u32,
    /// What each write takes longer.
    pub slow_disk: Duration,
    disk_free: Moment,
}

pub struct Ground {
    pub queue: Queue<Event>,
    pub net: Net,
    pub hosts: Vec<Host>,
    pub chance: Chance,
    pub ledger: Ledger,
    pub history: History,
    pub trace: Trace,
    /// What has just begun or ended, for whoever lies in wait.
    pub phases: Vec<Phase>,
    pub planted: Option<Bug>,
}

impl Host {
    pub fn is_up(&self) -> bool {
        self.crashes == 0
    }

    /// Whether what is written there comes to be on the disk. After a flush that failed nobody knows what of it is, also
    /// if a later one seems to do; so whoever is told of it ends, and what was not flushed is gone.
    pub fn can_flush(&self) -> bool {
        self.failing_flushes == 0
    }

    pub fn new(drift_ppm: i64) -> Host {
        Host {
            clock: Clock::new(drift_ppm),
            life: 0,
            crashes: 0,
            pauses: 0,
            went_on: Moment::default(),
            waiting: Vec::new(),
            agent_crashes: 0,
            freezes: 0,
            frozen: Vec::new(),
            agent_life: 0,
            broken_services: 0,
            full_disks: 0,
            failing_flushes: 0,
            failing_promotions: 0,
            hanging_calls: 0,
            lost_answers: 0,
            hanging_promotions: 0,
            slow_disk: Duration::ZERO,
            disk_free: Moment::default(),
        }
    }
}

impl Ground {
    pub fn now(&self) -> Moment {
        self.queue.now()
    }

    /// Whether this bug is in.
    pub fn has(&self, planted: Around) -> bool {
        self.planted == Some(Bug::Around(planted))
    }

    pub fn uptime(&self, machine: Machine) -> Uptime {
        self.hosts[machine].clock.uptime(self.now())
    }

    /// What waited happens now, in its order.
    pub fn goes_on(&mut self, machine: Machine, waiting: Vec<Event>) {
        let now = self.now();
        self.hosts[machine].went_on = now;
        waiting.into_iter().for_each(|event| self.queue.put(now, event));
    }

    pub fn send(&mut self, from: Machine, to: Machine, message: Message) {
        let is_scattered = self.net.way(from, to).scatters > 0;
        if is_scattered && message.may_be_repeated() && self.chance.permille(REPEATED_PERMILLE) {
            self.sends_once(from, to, message.clone());
        }
        self.sends_once(from, to, message);
    }

    fn sends_once(&mut self, from: Machine, to: Machine, message: Message) {
        let now = self.now();
        if let Some(coming) = self.net.send(from, to, message.is_call(), now, &self.chance) {
            let life = self.life(to, message.is_for_agent());
            self.queue.put(coming.at, Event::Comes { from, to, life, coming: Some(coming), message });
        }
    }

    /// After so much of its own time.
    pub fn ring(&mut self, machine: Machine, after: Duration, timer: Timer) {
        let at = self.hosts[machine].clock.after(self.now(), after);
        let life = self.life(machine, timer.is_of_agent());
        self.queue.put(at, Event::Rings { machine, life, timer });
    }

    pub fn is_down(&self, machine: Machine, of_agent: bool) -> bool {
        let host = &self.hosts[machine];
        host.crashes > 0 || of_agent && host.agent_crashes > 0
    }

    /// Of a machine, or of the agent on it: it changes with each start.
    pub fn life(&self, machine: Machine, of_agent: bool) -> u32 {
        let host = &self.hosts[machine];
        if of_agent { host.life + host.agent_life } else { host.life }
    }

    /// When its disk has written what was given to it before, and this.
    pub fn writes(&mut self, machine: Machine, then: Timer) {
        let took = self.chance.between(Duration::from_micros(100), DISK_MOST);
        let now = self.now();
        let host = &mut self.hosts[machine];
        host.disk_free = host.disk_free.max(now) + took + host.slow_disk;
        let at = host.disk_free;
        let life = self.life(machine, then.is_of_agent());
        self.queue.put(at, Event::Rings { machine, life, timer: then });
    }
}
