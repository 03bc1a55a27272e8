//! The entry of the fuzz target, which a seeded test calls too: what agents, controllers and the disk
//! may hand in, decoded.

use std::io;

use bytes::Bytes;
use openraft::EntryPayload;
use prost::Message;
use wire::agent::{FromAgent, ToAgent};
use wire::proto::regent::raft::v1 as raft;
use wire::proto::regent::v1 as pb;

use super::disk::{Disk, Op, Table};
use super::memory_disk::MemoryDisk;
use super::types::{Entry, TypeConfig};
use super::{convert, frames};

type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;

/// The decoders; `octets` says by its first which of them reads the rest.
const DECODERS: [fn(&[u8]) -> bool; 5] = [from_agent, to_agent, append, appended, frame];

/// Whether `octets` can be read.
///
/// # Panics
/// Where what was read is not written back as what reads the same.
pub fn message(octets: &[u8]) -> bool {
    octets.split_first().is_some_and(|(which, rest)| DECODERS[usize::from(*which) % DECODERS.len()](rest))
}

/// What was read, and what is read of it once it was written.
fn twice<T>(
    octets: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
    write: impl Fn(&T) -> Vec<u8>,
) -> Option<(T, T)> {
    let found = read(octets)?;
    let written = write(&found);
    let again = read(&written).expect("what was written can be read");
    assert_eq!(write(&again), written);
    Some((found, again))
}

fn from_agent(octets: &[u8]) -> bool {
    let read = |octets: &[u8]| FromAgent::try_from(pb::AgentMessage::decode(octets).ok()?).ok();
    let write = |message: &FromAgent| pb::AgentMessage::from(message.clone()).encode_to_vec();
    twice(octets, read, write).inspect(|(found, again)| assert_eq!(found, again)).is_some()
}

fn to_agent(octets: &[u8]) -> bool {
    let read = |octets: &[u8]| ToAgent::try_from(pb::ControllerMessage::decode(octets).ok()?).ok();
    let write = |message: &ToAgent| pb::ControllerMessage::from(message.clone()).encode_to_vec();
    twice(octets, read, write).inspect(|(found, again)| assert_eq!(found, again)).is_some()
}

fn append(octets: &[u8]) -> bool {
    let read = |octets: &[u8]| convert::read_append(&raft::AppendRequest::decode(octets).ok()?).ok();
    let requests = twice(octets, read, |request| convert::append(request).encode_to_vec());
    let are_same = |(found, again): &(AppendRequest, AppendRequest)| {
        assert!(found.entries.iter().zip(&again.entries).all(|(one, other)| same(one, other)));
    };
    requests.inspect(are_same).is_some()
}

/// As far as it is decided here: members are openraft's to read.
fn same(one: &Entry, other: &Entry) -> bool {
    let command = |entry: &Entry| match &entry.payload {
        EntryPayload::Normal(proposal) => Some(proposal.clone()),
        _ => None,
    };
    one.log_id == other.log_id && command(one) == command(other)
}

fn appended(octets: &[u8]) -> bool {
    let read = |octets: &[u8]| convert::read_appended(&raft::AppendResponse::decode(octets).ok()?).ok();
    twice(octets, read, |result| convert::appended(result).encode_to_vec()).is_some()
}

fn frame(octets: &[u8]) -> bool {
    let is_sorted = |indexes: &Vec<u64>| assert!(indexes.is_sorted(), "{indexes:?} are out of order");
    entries_on_disk(octets).inspect(is_sorted).is_ok()
}

/// Of a log of two values, the first as long as the first octet says; the second is another part of the
/// same frame when the first says that more follow.
fn entries_on_disk(octets: &[u8]) -> io::Result<Vec<u64>> {
    let Some((len, values)) = octets.split_first() else { return Ok(Vec::new()) };
    let (first, second) = values.split_at(values.len().min(usize::from(*len)));
    let more = first.first() == Some(&1);
    let key = |index: u64, part: u16| [&index.to_be_bytes()[..], &part.to_be_bytes()].concat();
    let put = |key: Vec<u8>, value: &[u8]| Op::Put(Table::Log, key, value.to_vec());
    let disk = MemoryDisk::default();
    disk.write(vec![put(key(0, 0), first)])?;
    if !second.is_empty() {
        disk.write(vec![put(if more { key(0, 1) } else { key(1, 0) }, second)])?;
    }
    let mut indexes = Vec::new();
    frames::read(&disk, 0, u64::MAX, usize::MAX, |entry, _| {
        indexes.push(entry.log_id.index);
        Ok(())
    })?;
    Ok(indexes)
}

/// Honest ones, for a fuzzer or a test to begin with.
pub fn samples() -> Vec<Vec<u8>> {
    let id = raft::LogId { term: 3, member: 2, index: 0 };
    let vote = raft::Ballot { term: 3, member: 2, committed: true };
    let note = br#"{"at":7,"by":"operator/ann","command":{"note":{"text":"x"}}}"#;
    let payload = Some(raft::entry::Payload::Command(Bytes::from_static(note)));
    let entry = raft::Entry { id: Some(id), payload };
    let append = raft::AppendRequest {
        vote: Some(vote),
        previous: Some(id),
        entries: vec![entry.clone(), raft::Entry { id: Some(id), payload: None }],
        leader_commit: Some(id),
    };
    let matched = raft::append_response::Matched { last: Some(id) };
    let appended = raft::AppendResponse { result: Some(raft::append_response::Result::Matched(matched)) };
    let finding = pb::Finding { check: "eu/1".into(), condition: 2, age_ms: 1_500, reason: "refused".into() };
    let messages = [
        pb::agent_message::Message::Hello(pb::Hello { agent: "eu/1".into(), ..Default::default() }),
        pb::agent_message::Message::Evidence(pb::Evidence { findings: vec![finding] }),
        pb::agent_message::Message::Step(pb::StepReport { step: 2, result: 1, ..Default::default() }),
    ];
    let mut samples: Vec<Vec<u8>> = messages
        .into_iter()
        .map(|message| tagged(0, &pb::AgentMessage { message: Some(message) }.encode_to_vec()))
        .collect();
    let ack = pb::controller_message::Message::Step(pb::StepAck { plan: 1, step: 2, attempt: 3 });
    samples.push(tagged(1, &pb::ControllerMessage { message: Some(ack) }.encode_to_vec()));
    samples.push(tagged(2, &append.encode_to_vec()));
    samples.push(tagged(3, &appended.encode_to_vec()));
    let frame = entry.encode_length_delimited_to_vec();
    let (half, rest) = frame.split_at(frame.len() / 2);
    samples.push(tagged(4, &[&[u8::MAX, 0], &frame[..]].concat()));
    samples.push(tagged(4, &[&[half.len() as u8 + 1, 1], half, &[0], rest].concat()));
    samples
}

fn tagged(which: u8, octets: &[u8]) -> Vec<u8> {
    [&[which], octets].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    /// Each sample must be read, or damage to it would try nothing.
    #[test]
    fn honest_messages_are_read() {
        for sample in samples() {
            assert!(message(&sample), "{sample:?}");
            if let [4, log @ ..] = &sample[..] {
                assert_eq!(entries_on_disk(log).unwrap(), [0]);
            }
        }
    }

    /// The same entry as `fuzz/`, on honest messages with random damage and on random octets.
    #[test]
    fn damaged_messages_are_errors_or_read_as_they_are_written() {
        let mut random = StdRng::seed_from_u64(0x5eed);
        let samples = samples();
        for _ in 0..40_000 {
            let mut damaged = samples[random.random_range(0..samples.len())].clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..damaged.len());
                match random.random_range(0..3) {
                    0 => damaged[at] = random.random(),
                    1 => damaged.insert(at, random.random()),
                    _ if damaged.len() > 1 => drop(damaged.remove(at)),
                    _ => {}
                }
            }
            message(&damaged);
        }
    }
}
