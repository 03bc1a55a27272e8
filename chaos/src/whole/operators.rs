//! Operators that write to the control plane and read from it over gRPC, through any controller: their history is what
//! S7 is judged by. A note is a write of its number; whoever reads finds the newest.

use std::time::Duration;

use decision::command::Outcome;
use decision::config::Config;
use decision::name::ServiceName;
use tonic::Status;
use tonic::transport::Channel;
use wire::api::{ConfigDocument, Intent, IntentReply, JournalPage, Query};
use wire::connect::{ChannelOptions, channel};
use wire::proto::regent::v1 as pb;
use wire::proto::regent::v1::operator_client::OperatorClient;
use wire::tls::{Credentials, Expect};

use super::ground::Ground;
use super::machine::{address, host};
use crate::linearizable::{OnRegister, Operation};
use crate::sim::ground::Machine;
use crate::sim::queue::Moment;
use crate::sim::readers::noted;
use crate::sim::setup::{REGIONS, SERVICE};

const AT_ONCE: u64 = 3;
const PAUSE_LEAST: Duration = Duration::from_millis(50);
const PAUSE_MOST: Duration = Duration::from_millis(1_500);
/// Longer than a controller takes to give up.
const WITHIN: Duration = Duration::from_secs(17);
const CONFIGURES_WITHIN: Duration = Duration::from_secs(3);
const PAGE: u32 = 1_000;
const CALLED: u64 = 8;
const ANSWERED: u64 = 9;
const REFUSED: u64 = 10;
/// What a controller says when it surely did nothing.
const NOT_DONE: &str = "nothing was changed";

#[derive(Clone)]
pub struct Operators {
    pub ground: Ground,
    pub machine: Machine,
    pub credentials: Credentials,
    pub config: Config,
    /// From when on they ask for moves, and until when.
    pub moves: (Moment, Moment),
}

type Client = OperatorClient<Channel>;

impl Operators {
    pub async fn run(self) {
        let clients = self.clients();
        self.configures(&clients).await;
        for _ in 0..AT_ONCE {
            tokio::spawn(self.clone().notes());
        }
        self.wishes(clients).await;
    }

    fn clients(&self) -> Vec<Client> {
        let layout = self.ground.truth().layout;
        let host = host(&self.ground, self.machine);
        let client = |controller| {
            let to = address(layout, controller);
            let options = ChannelOptions::default();
            OperatorClient::new(channel(&host, &self.credentials, &to, Expect::AnyController, options))
        };
        layout.controllers().map(client).collect()
    }

    /// As an operator does it once.
    async fn configures(&self, clients: &[Client]) {
        loop {
            let mut client = self.ground.chance.pick(clients).clone();
            let config = Box::new(self.config.clone());
            let set = Intent::SetConfig { parent_generation: 0, config };
            let asked = tokio::time::timeout(CONFIGURES_WITHIN, wish(&mut client, &set)).await;
            let read = tokio::time::timeout(CONFIGURES_WITHIN, ask(&mut client, &Query::Config)).await;
            let found = read.ok().and_then(Result::ok);
            let found = found.and_then(|json| serde_json::from_slice::<ConfigDocument>(&json).ok());
            if found.is_some_and(|found| found.generation > 0) {
                return self.ground.line(|| format!("configured: {asked:?}"));
            }
            tokio::time::sleep(PAUSE_LEAST).await;
        }
    }

    /// Planned moves, at bad moments.
    async fn wishes(self, clients: Vec<Client>) {
        let chance = &self.ground.chance;
        loop {
            tokio::time::sleep(chance.between(Duration::from_secs(2), Duration::from_secs(14))).await;
            if self.ground.now() < self.moves.0 || self.ground.now() > self.moves.1 {
                continue;
            }
            let to = (*chance.pick(&REGIONS)).into();
            let (service, reason) = (ServiceName::from(SERVICE), "as wished".to_owned());
            let wished = Intent::Switchover { service, to: Some(to), reason, dry_run: false };
            let mut client = chance.pick(&clients).clone();
            let reply = tokio::time::timeout(WITHIN, wish(&mut client, &wished)).await;
            self.ground.line(|| format!("an operator wished for a move: {reply:?}"));
        }
    }

    async fn notes(self) {
        let clients = self.clients();
        loop {
            tokio::time::sleep(self.ground.chance.between(PAUSE_LEAST, PAUSE_MOST)).await;
            let client = self.ground.chance.pick(&clients).clone();
            match self.ground.chance.permille(400) {
                true => self.writes(client).await,
                false => self.reads(client).await,
            }
        }
    }

    /// Gives where it stands in the history.
    fn begins(&self, what: OnRegister) -> usize {
        let now = self.ground.now();
        self.ground.happens(CALLED, self.machine, 0);
        let mut truth = self.ground.truth();
        // What it writes is its place, which no other has.
        let n = truth.history.len();
        let what = if matches!(what, OnRegister::Write(_)) { OnRegister::Write(n as u64) } else { what };
        truth.history.push(Operation { called: now.0, answered: None, what });
        n
    }

    fn is_answered(&self, n: usize, what: OnRegister) {
        let now = self.ground.now();
        let detail = match what {
            OnRegister::Write(value) => value,
            OnRegister::Read(found) => found.map_or(u64::MAX, |found| found << 32),
        };
        self.ground.happens(ANSWERED, self.machine, detail);
        let mut truth = self.ground.truth();
        truth.answered = Some(now);
        let operation = &mut truth.history[n];
        (operation.answered, operation.what) = (Some(now.0), what);
    }

    /// It was told that it was not done: whoever finds it all the same has found a lie.
    fn is_refused(&self, n: usize) {
        self.ground.happens(REFUSED, self.machine, n as u64);
        self.ground.truth().history[n].what = OnRegister::Read(None);
    }

    async fn writes(&self, mut client: Client) {
        let n = self.begins(OnRegister::Write(0));
        let note = Intent::Note { text: n.to_string() };
        match tokio::time::timeout(WITHIN, wish(&mut client, &note)).await {
            Ok(Ok(IntentReply::Done { outcome: Outcome::Applied { .. }, .. })) => {
                self.is_answered(n, OnRegister::Write(n as u64));
            }
            Ok(Err(status)) if status.message().contains(NOT_DONE) => self.is_refused(n),
            Ok(Ok(other)) => self.ground.finds("S7", format!("a note was answered by {other:?}")),
            _ => {}
        }
    }

    async fn reads(&self, mut client: Client) {
        let n = self.begins(OnRegister::Read(None));
        let journal = Query::Journal { after: 0, limit: PAGE };
        let Ok(Ok(json)) = tokio::time::timeout(WITHIN, ask(&mut client, &journal)).await else { return };
        match serde_json::from_slice::<JournalPage>(&json) {
            Ok(page) if !page.intact => self.ground.finds("S8", "the journal's chain is broken".to_owned()),
            Ok(page) if page.entries.last().is_some_and(|newest| newest.seq < page.last_seq) => {
                self.ground.finds("harness", format!("more than {PAGE} entries, and the newest not read"));
            }
            Ok(page) => {
                let found = page.entries.iter().rev().find_map(|entry| noted(&entry.event));
                self.is_answered(n, OnRegister::Read(found));
            }
            Err(error) => self.ground.finds("wire", format!("a journal cannot be read: {error}")),
        }
    }
}

async fn wish(client: &mut Client, intent: &Intent) -> Result<IntentReply, Status> {
    let json = serde_json::to_vec(intent).map_err(unreadable)?.into();
    let document = client.r#do(pb::DoRequest { json }).await?.into_inner();
    serde_json::from_slice(&document.json).map_err(unreadable)
}

async fn ask(client: &mut Client, query: &Query) -> Result<bytes::Bytes, Status> {
    let json = serde_json::to_vec(query).map_err(unreadable)?.into();
    let document = client.read(pb::ReadRequest { json, stale_ok: false }).await?.into_inner();
    match document.stale {
        true => Err(Status::data_loss("nobody asked for what may be stale")),
        false => Ok(document.json),
    }
}

fn unreadable(error: serde_json::Error) -> Status {
    Status::invalid_argument(error.to_string())
}
