//! PostgreSQL as far as Regent's rules can see it: a data folder, a server that writes and sends its log, replicas
//! that take it in, commits that wait for them. It follows what the manual says of 15, and what was measured there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use decision::database::Position;
use decision::lsn::Lsn;
use decision::name::RegionName;
use decision::plan::Epoch;
use decision::time::Uptime;

use super::ambush::Phase;
use super::ground::{Ground, Machine};
use super::planted::Around;
use super::timer::{OfPostgres, Timer};
use super::wal::{Log, Parted, Record};
use super::{history, message};

/// `wal_retrieve_retry_interval`, `wal_receiver_timeout` and `wal_sender_timeout`, as Regent sets them.
const TRIES_AGAIN: Duration = Duration::from_millis(200);
const SILENT_MOST: Duration = Duration::from_secs(10);
const KEEPS_ALIVE: Duration = Duration::from_secs(1);
/// Until it is looked again whether what held a promotion up is over.
const HANGS_FOR: Duration = Duration::from_millis(50);
/// What a checkpoint writes, with what keeps the next record aligned.
const CHECKPOINT_BYTES: u64 = 120;

#[derive(Clone, Debug)]
pub enum Message {
    /// A replica asks to be sent what comes after its log.
    Connect {
        session: u64,
        as_name: RegionName,
        /// Of its slot.
        epoch: Epoch,
        log: Log,
    },
    /// The sender's log, as far as it is sent, and where its end is by now.
    Wal {
        session: u64,
        log: Log,
        end: u64,
    },
    /// The agent of a replica asks how far the log reaches.
    AskEnd {
        asked: Uptime,
    },
    Flushed {
        session: u64,
        end: u64,
    },
    /// Not sent, or not any more.
    Closed {
        session: u64,
    },
    Write,
    Written,
    Denied,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    Absent,
    /// A copy, or a rewind, that was not finished.
    Broken,
    Present(Data),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    pub log: Log,
    pub is_standby: bool,
    /// It was shut down in order.
    pub is_clean: bool,
    /// Rewound: it answers only when it was sent what its primary wrote meanwhile.
    pub lacks: bool,
    /// Of which epoch its slots are for whoever follows it.
    pub slots: Option<Epoch>,
}

#[derive(Debug)]
pub enum Process {
    None,
    /// Whom it will follow, or none: it will take writes.
    Starting {
        as_replica: bool,
        of: Option<Told>,
    },
    Primary(Primary),
    Replica(Replica),
}

/// Whom a replica was told to follow, and at which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub of: Machine,
    pub epoch: Epoch,
}

/// Whom commits wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    pub acks: usize,
    pub names: BTreeSet<RegionName>,
}

#[derive(Debug)]
pub struct Primary {
    pub epoch: Epoch,
    pub sync: Sync,
    /// Written, and not all of it flushed.
    written: u64,
    is_flushing: bool,
    commits: VecDeque<Commit>,
    senders: BTreeMap<Machine, Sender>,
    /// It ends as soon as everybody who listens has everything.
    pub is_ending: bool,
}

#[derive(Debug)]
struct Commit {
    end: u64,
    client: Machine,
}

#[derive(Debug)]
struct Sender {
    session: u64,
    /// Of its slot.
    epoch: Epoch,
    name: RegionName,
    flushed: Option<u64>,
    heard: Uptime,
}

#[derive(Debug, Default)]
pub struct Replica {
    pub told: Option<Told>,
    session: u64,
    pub streams: bool,
    received: Option<Log>,
    is_flushing: bool,
    pub upstream: Option<u64>,
    heard: Uptime,
    pub is_promoting: bool,
}

pub struct Postgres {
    pub machine: Machine,
    pub name: RegionName,
    pub files: Files,
    pub process: Process,
    /// Of the processes, one after another.
    pub run: u32,
    /// The last one ended by itself.
    died: bool,
    sessions: u64,
}

impl Postgres {
    pub fn new(machine: Machine, name: RegionName) -> Postgres {
        Postgres {
            machine,
            name,
            files: Files::Absent,
            process: Process::None,
            run: 0,
            died: false,
            sessions: 0,
        }
    }

    /// It runs, and answers nobody.
    pub fn lacks(&self) -> bool {
        matches!(&self.files, Files::Present(data) if data.lacks)
    }

    pub fn log(&self) -> Option<&Log> {
        match &self.files {
            Files::Present(data) => Some(&data.log),
            _ => None,
        }
    }

    /// What the files say of a server that was shut down in order: of a primary, where its last checkpoint begins, and of
    /// a replica, how far it had replayed.
    pub fn clean(&self) -> Option<Position> {
        let Files::Present(data) = &self.files else { return None };
        let checkpoint = if data.is_standby { 0 } else { CHECKPOINT_BYTES };
        let lsn = Lsn(data.log.end.saturating_sub(checkpoint));
        (data.is_clean && matches!(self.process, Process::None))
            .then(|| Position { timeline: data.log.timeline(), lsn })
    }

    fn log_mut(&mut self) -> Option<&mut Log> {
        match &mut self.files {
            Files::Present(data) => Some(&mut data.log),
            _ => None,
        }
    }

    pub fn primary(&self) -> Option<&Primary> {
        match &self.process {
            Process::Primary(primary) => Some(primary),
            _ => None,
        }
    }

    pub fn primary_mut(&mut self) -> Option<&mut Primary> {
        match &mut self.process {
            Process::Primary(primary) => Some(primary),
            _ => None,
        }
    }

    pub fn replica(&self) -> Option<&Replica> {
        match &self.process {
            Process::Replica(replica) => Some(replica),
            _ => None,
        }
    }

    /// Who streams from it, and what each has on its disk.
    pub fn followers(&self) -> Vec<(RegionName, Option<Lsn>)> {
        let senders = self.primary().into_iter().flat_map(|primary| primary.senders.values());
        senders.map(|sender| (sender.name.clone(), sender.flushed.map(Lsn))).collect()
    }

    /// How far it reaches, if it takes writes.
    fn tells_end(&self, to: Machine, asked: Uptime, ground: &mut Ground) {
        let Some((primary, log)) = self.primary().zip(self.log()) else { return };
        if !primary.is_ending {
            let end = Position { timeline: log.timeline(), lsn: Lsn(log.end) };
            ground.send(self.machine, to, message::Message::Reaches { asked, end });
        }
    }

    fn ring(&self, after: Duration, timer: impl FnOnce(u32) -> OfPostgres, ground: &mut Ground) {
        ground.ring(self.machine, after, Timer::Postgres(timer(self.run)));
    }

    fn send(&self, to: Machine, said: Message, ground: &mut Ground) {
        ground.send(self.machine, to, message::Message::Postgres(Box::new(said)));
    }

    // What its agent and its guard do to it.

    /// `of`: whom it follows, if it is a replica.
    pub fn starts(
        &mut self,
        as_replica: bool,
        of: Option<Told>,
        epoch: Epoch,
        sync: Sync,
        ground: &mut Ground,
    ) {
        self.run += 1;
        self.died = false;
        self.process = Process::Starting { as_replica, of };
        if let Files::Present(data) = &mut self.files {
            data.is_clean = false;
            data.is_standby = as_replica;
        }
        let takes = ground.chance.between(Duration::from_millis(40), Duration::from_millis(400));
        self.ring(takes, |run| OfPostgres::Started { run, epoch, sync }, ground);
    }

    /// Every process of it ends at once; what was not flushed is gone, or some of it.
    pub fn is_killed(&mut self, ground: &mut Ground) {
        self.run += 1;
        ground.history.ends(self.machine);
        self.keeps_some(ground);
        match std::mem::replace(&mut self.process, Process::None) {
            Process::Primary(primary) => {
                for (machine, sender) in primary.senders {
                    self.send(machine, Message::Closed { session: sender.session }, ground);
                }
            }
            Process::Replica(Replica { told: Some(told), session, .. }) => {
                self.send(told.of, Message::Closed { session }, ground);
            }
            _ => {}
        }
    }

    /// The machine is gone, and tells nobody.
    pub fn is_lost(&mut self, ground: &mut Ground) {
        self.run += 1;
        ground.history.ends(self.machine);
        self.keeps_some(ground);
        self.process = Process::None;
    }

    fn keeps_some(&mut self, ground: &Ground) {
        let (Files::Present(data), Process::Primary(primary)) = (&mut self.files, &self.process) else {
            return;
        };
        if !ground.hosts[self.machine].can_flush() {
            return;
        }
        data.log.end += ground.chance.below(primary.written.saturating_sub(data.log.end) + 1);
    }

    /// It can write nothing, or not flush what it wrote, and ends by itself, as PostgreSQL does.
    fn panics(&mut self, ground: &mut Ground) -> bool {
        let host = &ground.hosts[self.machine];
        let can_write = host.full_disks == 0 && host.can_flush();
        if !can_write {
            self.is_killed(ground);
            self.died = true;
        }
        !can_write
    }

    /// Whether the last process ended by itself. Told once.
    pub fn has_died(&mut self) -> bool {
        std::mem::take(&mut self.died)
    }

    /// In order: a primary first has everybody who listens get everything.
    pub fn is_stopped(&mut self, ground: &mut Ground) {
        match &mut self.process {
            Process::Primary(primary) => {
                primary.is_ending = true;
                primary.written += CHECKPOINT_BYTES;
                self.flushes(ground);
                self.may_end(ground);
            }
            Process::Replica(_) | Process::Starting { as_replica: true, .. } => {
                self.is_killed(ground);
                if let Files::Present(data) = &mut self.files {
                    data.is_clean = !data.lacks;
                }
            }
            Process::Starting { .. } => self.is_killed(ground),
            Process::None => {}
        }
    }

    pub fn follows(&mut self, told: Option<Told>, ground: &mut Ground) {
        if let Process::Starting { as_replica: true, of } = &mut self.process {
            *of = told;
        }
        let Process::Replica(replica) = &mut self.process else { return };
        if let Some(before) = replica.told.take() {
            let session = replica.session;
            self.send(before.of, Message::Closed { session }, ground);
        }
        let Process::Replica(replica) = &mut self.process else { return };
        *replica = Replica { told, ..Replica::default() };
        self.connects(ground);
    }

    /// What a primary owes its replicas: a slot of this epoch for each. Who is sent by one of before is not any more.
    pub fn is_tended(&mut self, epoch: Epoch, ground: &mut Ground) {
        let (Files::Present(data), Process::Primary(primary)) = (&mut self.files, &mut self.process) else {
            return;
        };
        if data.slots.replace(epoch) != Some(epoch) {
            for (machine, sender) in
                primary.senders.extract_if(.., |_, sender| sender.epoch != epoch).collect::<Vec<_>>()
            {
                self.send(machine, Message::Closed { session: sender.session }, ground);
            }
        }
    }

    /// An error: it answers so, and goes on as before; or it has ended.
    pub fn is_promoted(&mut self, epoch: Epoch, sync: Sync, ground: &mut Ground) -> Result<(), String> {
        let Process::Replica(replica) = &mut self.process else { return Ok(()) };
        if replica.is_promoting {
            return Ok(());
        }
        if ground.hosts[self.machine].failing_promotions > 0 {
            if ground.chance.permille(50) {
                self.ends_half_promoted(ground);
            }
            return Err("it could not be promoted".into());
        }
        replica.is_promoting = true;
        let takes = ground.chance.between(Duration::from_millis(20), Duration::from_millis(120));
        self.ring(takes, |run| OfPostgres::Promoted { run, epoch, sync }, ground);
        Ok(())
    }

    /// In the midst: before it has begun a timeline, or before it is no standby any more. It took no writes yet.
    fn ends_half_promoted(&mut self, ground: &mut Ground) {
        if ground.chance.permille(500) {
            self.begins_timeline(ground);
        }
        self.is_killed(ground);
        self.died = true;
    }

    fn begins_timeline(&mut self, ground: &mut Ground) {
        let id = ground.history.branch();
        if let Some(log) = self.log_mut() {
            log.branches(id, log.timeline() + 1);
        }
    }

    // What happens to it.

    pub fn rings(&mut self, timer: OfPostgres, ground: &mut Ground) {
        if timer.run() != self.run {
            return;
        }
        match timer {
            OfPostgres::Started { epoch, sync, .. } => self.has_started(epoch, sync, ground),
            OfPostgres::Promoted { epoch, sync, .. } => self.has_promoted(epoch, sync, ground),
            OfPostgres::Flushed { end, .. } => self.has_flushed(end, ground),
            OfPostgres::TookIn { session, .. } => self.took_in(session, ground),
            OfPostgres::Connect { session, .. } => {
                if self.replica().is_some_and(|replica| replica.session == session && !replica.streams) {
                    self.connects(ground);
                }
            }
            OfPostgres::KeepAlive { .. } => self.keeps_alive(ground),
        }
    }

    fn has_started(&mut self, epoch: Epoch, sync: Sync, ground: &mut Ground) {
        if self.panics(ground) {
            return;
        }
        let Process::Starting { as_replica, of } = self.process else { return };
        if as_replica {
            self.process = Process::Replica(Replica { told: of, ..Replica::default() });
            self.connects(ground);
        } else {
            self.takes_writes(epoch, sync, ground);
        }
        self.ring(KEEPS_ALIVE, |run| OfPostgres::KeepAlive { run }, ground);
    }

    fn has_promoted(&mut self, epoch: Epoch, sync: Sync, ground: &mut Ground) {
        if ground.hosts[self.machine].hanging_promotions > 0 {
            return self.ring(HANGS_FOR, |run| OfPostgres::Promoted { run, epoch, sync }, ground);
        }
        if self.panics(ground) {
            return;
        }
        self.begins_timeline(ground);
        let Files::Present(data) = &mut self.files else { return };
        data.is_standby = false;
        self.takes_writes(epoch, sync, ground);
    }

    fn takes_writes(&mut self, epoch: Epoch, sync: Sync, ground: &mut Ground) {
        let Some(end) = self.log().map(|log| log.end) else { return };
        self.process = Process::Primary(Primary {
            epoch,
            sync,
            written: end + CHECKPOINT_BYTES,
            is_flushing: false,
            commits: VecDeque::new(),
            senders: BTreeMap::new(),
            is_ending: false,
        });
        ground.phases.push(Phase::Begun);
        // S1. Where commits wait for others, an old one may run a while longer: it acknowledges nothing.
        let is_there =
            |machine: &Machine| ground.hosts[*machine].is_up() && ground.hosts[*machine].pauses == 0;
        let other = ground.history.writers_beside(self.machine).find(is_there);
        if let (Some(other), true) = (other, ground.history.is_asynchronous) {
            let detail = format!("machines {other} and {} take writes at once", self.machine);
            ground.ledger.finds(ground.queue.now(), "S1", detail);
        }
        ground.history.takes_writes(ground.queue.now(), self.machine, epoch, self.log(), &mut ground.ledger);
        self.flushes(ground);
    }

    fn keeps_alive(&mut self, ground: &mut Ground) {
        self.ring(KEEPS_ALIVE, |run| OfPostgres::KeepAlive { run }, ground);
        let now = ground.uptime(self.machine);
        match &mut self.process {
            Process::Primary(primary) => {
                primary.senders.retain(|_, sender| now.since(sender.heard) < SILENT_MOST);
                self.sends(ground);
                self.may_end(ground);
            }
            Process::Replica(replica) => {
                if replica.streams && now.since(replica.heard) > SILENT_MOST {
                    replica.streams = false;
                    self.connects(ground);
                } else if let (Some(told), true) = (replica.told, replica.streams) {
                    let session = replica.session;
                    let end = self.log().map_or(0, |log| log.end);
                    self.send(told.of, Message::Flushed { session, end }, ground);
                }
            }
            _ => {}
        }
    }

    pub fn hears(&mut self, from: Machine, message: Message, ground: &mut Ground) {
        match message {
            Message::Connect { session, as_name, epoch, log } => {
                self.is_connected(from, session, as_name, epoch, &log, ground)
            }
            Message::Wal { session, log, end } => self.is_sent(from, session, log, end, ground),
            Message::AskEnd { asked } => self.tells_end(from, asked, ground),
            Message::Flushed { session, end } => self.is_acknowledged(from, session, end, ground),
            Message::Closed { session } => self.is_closed(from, session, ground),
            Message::Write => self.writes(from, ground),
            Message::Written | Message::Denied => {}
        }
    }

    // A replica.

    fn connects(&mut self, ground: &mut Ground) {
        let now = ground.uptime(self.machine);
        self.sessions += 1;
        let (number, name) = (self.sessions << 8 | self.machine as u64, self.name.clone());
        let Files::Present(data) = &self.files else { return };
        let log = data.log.clone();
        let Process::Replica(replica) = &mut self.process else { return };
        let Some(Told { of, epoch }) = replica.told else { return };
        (replica.session, replica.streams, replica.received, replica.is_flushing) =
            (number, false, None, false);
        replica.heard = now;
        self.send(of, Message::Connect { session: number, as_name: name, epoch, log }, ground);
        // A connection that is not answered is given up: `connect_timeout`.
        self.ring(Duration::from_secs(3), |run| OfPostgres::Connect { run, session: number }, ground);
    }

    fn is_sent(&mut self, from: Machine, session: u64, log: Log, end: u64, ground: &mut Ground) {
        let now = ground.uptime(self.machine);
        let has = self.log().map_or(0, |log| log.end);
        let Process::Replica(replica) = &mut self.process else {
            return self.send(from, Message::Closed { session }, ground);
        };
        if replica.session != session || replica.is_promoting {
            return self.send(from, Message::Closed { session }, ground);
        }
        (replica.streams, replica.heard) = (true, now);
        replica.upstream = replica.upstream.max(Some(end));
        if let Files::Present(data) = &mut self.files {
            data.lacks = false;
        }
        if log.end > has {
            replica.received = Some(log);
            if !std::mem::replace(&mut replica.is_flushing, true) {
                let run = self.run;
                ground.writes(self.machine, Timer::Postgres(OfPostgres::TookIn { run, session }));
            }
        }
    }

    fn took_in(&mut self, session: u64, ground: &mut Ground) {
        let Process::Replica(replica) = &mut self.process else { return };
        if replica.session != session {
            return;
        }
        replica.is_flushing = false;
        let (Some(log), Some(told)) = (replica.received.take(), replica.told) else { return };
        if self.panics(ground) {
            return;
        }
        let now = ground.queue.now();
        let Some(own) = self.log_mut() else { return };
        if !own.takes(&log, log.end) {
            let detail = format!("machine {} took in a log of which its own is no part", self.machine);
            ground.ledger.finds(now, "S3", detail);
        }
        let end = self.log().map_or(0, |log| log.end);
        self.send(told.of, Message::Flushed { session, end }, ground);
    }

    fn is_closed(&mut self, from: Machine, session: u64, ground: &mut Ground) {
        match &mut self.process {
            Process::Replica(replica) if replica.session == session => {
                replica.streams = false;
                self.ring(TRIES_AGAIN, |run| OfPostgres::Connect { run, session }, ground);
            }
            Process::Primary(primary)
                if primary.senders.get(&from).is_some_and(|sender| sender.session == session) =>
            {
                primary.senders.remove(&from);
                self.may_end(ground);
            }
            _ => {}
        }
    }

    // A primary.

    fn is_connected(
        &mut self,
        from: Machine,
        session: u64,
        name: RegionName,
        epoch: Epoch,
        log: &Log,
        ground: &mut Ground,
    ) {
        let heard = ground.uptime(self.machine);
        let may = self.log().map_or(Err(Parted::Unknown), |own| log.may_follow(own));
        let has_slot = matches!(&self.files, Files::Present(data) if data.slots == Some(epoch));
        let Process::Primary(primary) = &mut self.process else {
            return self.send(from, Message::Closed { session }, ground);
        };
        if may.is_err() || !has_slot {
            return self.send(from, Message::Closed { session }, ground);
        }
        primary.senders.insert(from, Sender { session, epoch, name, flushed: Some(log.end), heard });
        self.sends(ground);
    }

    fn sends(&self, ground: &mut Ground) {
        let (Some(log), Process::Primary(primary)) = (self.log(), &self.process) else { return };
        for (machine, sender) in &primary.senders {
            let wal = Message::Wal { session: sender.session, log: log.clone(), end: log.end };
            self.send(*machine, wal, ground);
        }
    }

    fn writes(&mut self, client: Machine, ground: &mut Ground) {
        let bytes = 64 + ground.chance.below(4_000);
        let Process::Primary(primary) = &mut self.process else {
            return self.send(client, Message::Denied, ground);
        };
        if primary.is_ending {
            return self.send(client, Message::Denied, ground);
        }
        primary.written += bytes;
        let end = primary.written;
        primary.commits.push_back(Commit { end, client });
        self.flushes(ground);
    }

    fn flushes(&mut self, ground: &mut Ground) {
        let run = self.run;
        let Process::Primary(primary) = &mut self.process else { return };
        if !std::mem::replace(&mut primary.is_flushing, true) {
            let end = primary.written;
            ground.writes(self.machine, Timer::Postgres(OfPostgres::Flushed { run, end }));
        }
    }

    fn has_flushed(&mut self, end: u64, ground: &mut Ground) {
        if self.panics(ground) {
            return;
        }
        let Some(log) = self.log_mut() else { return };
        log.end = end;
        let Process::Primary(primary) = &mut self.process else { return };
        primary.is_flushing = false;
        if primary.written > end {
            self.flushes(ground);
        }
        self.sends(ground);
        self.acknowledges(ground);
        self.may_end(ground);
    }

    fn is_acknowledged(&mut self, from: Machine, session: u64, end: u64, ground: &mut Ground) {
        let now = ground.uptime(self.machine);
        let Process::Primary(primary) = &mut self.process else {
            return self.send(from, Message::Closed { session }, ground);
        };
        match primary.senders.get_mut(&from).filter(|sender| sender.session == session) {
            Some(sender) => {
                (sender.flushed, sender.heard) = (sender.flushed.max(Some(end)), now);
                self.acknowledges(ground);
                self.may_end(ground);
            }
            None => self.send(from, Message::Closed { session }, ground),
        }
    }

    /// Whoever waited for what is flushed here, and where it is asked for.
    pub fn acknowledges(&mut self, ground: &mut Ground) {
        let Some(newest) = self.log().map(Log::newest) else { return };
        let Process::Primary(primary) = &mut self.process else { return };
        let asked = |sender: &&Sender| primary.sync.names.contains(&sender.name);
        let mut have: Vec<u64> =
            primary.senders.values().filter(asked).filter_map(|sender| sender.flushed).collect();
        have.sort_unstable_by(|a, b| b.cmp(a));
        let safe = match primary.sync.acks.checked_sub(1) {
            None => newest.end,
            _ if ground.has(Around::AcknowledgesAlone) => newest.end,
            Some(last) => have.get(last).copied().unwrap_or(0).min(newest.end),
        };
        let epoch = primary.epoch;
        let mut done = Vec::new();
        while let Some(commit) = primary.commits.pop_front_if(|commit| commit.end <= safe) {
            done.push(commit);
        }
        for Commit { end, client } in done {
            let record = Record { branch: newest.branch, end };
            ground.history.acknowledges(ground.queue.now(), &self.name, record, epoch, &mut ground.ledger);
            self.send(client, Message::Written, ground);
        }
    }

    fn may_end(&mut self, ground: &mut Ground) {
        let Some(end) = self.log().map(|log| log.end) else { return };
        let Process::Primary(primary) = &self.process else { return };
        let has_all = primary.senders.values().all(|sender| sender.flushed >= Some(primary.written));
        if primary.is_ending && end == primary.written && has_all {
            self.is_killed(ground);
            if let Files::Present(data) = &mut self.files {
                data.is_clean = true;
            }
        }
    }

    /// Of what it was made.
    pub fn is_made(&mut self, log: Log, is_standby: bool) {
        self.files = Files::Present(Data { log, is_standby, is_clean: true, lacks: false, slots: None });
    }
}

/// The first of a database.
pub fn first_log(history: &mut history::History) -> Log {
    Log::new(history.branch(), 1, 1 << 20)
}
