//! Power loss: of the file, only what was on the medium at the last fdatasync is left, and of the pages
//! written since, any or none. Nothing acknowledged may be missing.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::disk::Fsync;
use super::super::log_store::Store;
use super::super::types::{Entry, LogId, SnapshotMeta, Vote};
use super::super::writer::Commit;
use super::store::{append, entry};
use super::{fdatasync, open};

const PAGE: usize = 4096;

/// The medium: a copy of the file as of the last sync.
#[derive(Default, Clone)]
struct Medium(Arc<Mutex<Vec<u8>>>);

impl Medium {
    fn fsync(&self) -> Fsync {
        let medium = self.0.clone();
        Arc::new(move |file: &File| {
            file.sync_data()?;
            let mut bytes = vec![0; file.metadata()?.len() as usize];
            let mut read = 0;
            // sled may cut freed space off the file's end meanwhile.
            while read < bytes.len()
                && let count @ 1.. = file.read_at(&mut bytes[read..], read as u64)?
            {
                read += count;
            }
            bytes.truncate(read);
            *medium.lock().unwrap() = bytes;
            Ok(())
        })
    }

    /// What the next start finds in `to`. Pages that were written later survive with `chance`.
    fn lose_power(&self, from: &Path, to: &Path, rng: &mut StdRng, chance: f64) {
        // Held, so that the running writer gets no further than its next sync: beyond that, what it wrote
        // before would all be on the medium.
        let medium = self.0.lock().unwrap();
        let now = std::fs::read(from.join("db")).unwrap();
        let mut left = medium.clone();
        drop(medium);
        if chance > 0.0 {
            // The file's length may or may not have reached the medium.
            if now.len() > left.len() && rng.random_bool(0.5) {
                left.resize(now.len(), 0);
            }
            for (page, fresh) in left.chunks_mut(PAGE).zip(now.chunks(PAGE)) {
                if rng.random_bool(chance) {
                    let len = page.len().min(fresh.len());
                    page[..len].copy_from_slice(&fresh[..len]);
                }
            }
        }
        std::fs::write(to.join("db"), left).unwrap();
        // sled's index cache and blobs were never synced by us; its `conf` was, at the first open.
        std::fs::copy(from.join("identity.json"), to.join("identity.json")).unwrap();
        std::fs::copy(from.join("conf"), to.join("conf")).unwrap();
    }
}

/// What was acknowledged, which is what must be there.
#[derive(Default)]
struct Acknowledged {
    vote: Option<Vote>,
    entries: BTreeMap<u64, Entry>,
    purged: Option<LogId>,
    snapshot: Option<(SnapshotMeta, Bytes)>,
}

impl Acknowledged {
    async fn do_something(&mut self, store: &mut Store, rng: &mut StdRng, term: u64) {
        let next = self.next();
        match rng.random_range(0..100) {
            0..70 => {
                let count = rng.random_range(1..40);
                let fresh: Vec<_> = (next..next + count)
                    .map(|index| entry(term, index, &"x".repeat(rng.random_range(0..900))))
                    .collect();
                append(store, fresh.clone()).await.unwrap();
                self.entries.extend(fresh.into_iter().map(|entry| (entry.log_id.index, entry)));
            }
            70..80 => {
                let vote = Vote::new(term, rng.random_range(1..4));
                store.save_vote(&vote).await.unwrap();
                self.vote = Some(vote);
            }
            80..86 => {
                let first = self.purged.map_or(0, |id| id.index + 1);
                let keep = rng.random_range(next.saturating_sub(30).max(first)..=next);
                let last = keep.checked_sub(1).and_then(|i| self.entries.get(&i)).map(|e| e.log_id);
                if last.is_some() {
                    store.truncate_after(last).await.unwrap();
                    self.entries.split_off(&keep);
                }
            }
            86..94 => {
                let Some(upto) = self.entries.values().nth(self.entries.len() / 2).map(|e| e.log_id) else {
                    return;
                };
                store.purge(upto).await.unwrap();
                self.purged = Some(upto);
                self.entries = self.entries.split_off(&(upto.index + 1));
            }
            _ => {
                let last_log_id = self.entries.values().last().map(|e| e.log_id).or(self.purged);
                if last_log_id <= self.snapshot.as_ref().and_then(|(meta, _)| meta.last_log_id) {
                    return;
                }
                let meta = SnapshotMeta { last_log_id, ..Default::default() };
                let mut data = vec![0; rng.random_range(0..400_000)];
                rng.fill(data.as_mut_slice());
                let data = Bytes::from(data);
                store.save_snapshot(&meta, &data).await.unwrap();
                self.snapshot = Some((meta, data));
            }
        }
    }

    fn next(&self) -> u64 {
        let last = self.entries.keys().last().copied().or(self.purged.map(|id| id.index));
        last.map_or(0, |last| last + 1)
    }

    async fn check(&self, store: &mut Store) {
        assert_eq!(store.read_vote().await.unwrap(), self.vote);
        let found = store.try_get_log_entries(..).await.unwrap();
        assert_eq!(found, self.entries.values().cloned().collect::<Vec<_>>());
        let state = store.get_log_state().await.unwrap();
        assert_eq!(state.last_purged_log_id, self.purged);
        let snapshot = store.read_snapshot().await.unwrap().map(|found| (found.meta, found.snapshot));
        assert_eq!(snapshot, self.snapshot);
    }
}

/// Runs until about `steps`, loses power, starts again, many times over on the same data.
async fn survive(seed: u64, losses: usize, steps: usize, chance: f64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let medium = Medium::default();
    let mut dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    for loss in 0..losses {
        let disk =
            open(dir.path(), medium.fsync()).unwrap_or_else(|e| panic!("seed {seed} loss {loss}: {e}"));
        let mut store =
            Store::open(disk, Commit::Grouped).unwrap_or_else(|e| panic!("seed {seed} loss {loss}: {e}"));
        // What was in flight when the power went may have survived; it was never promised either way.
        acknowledged.check(&mut store).await;
        // Long runs now and then, so that sled comes to reuse its segments.
        let steps = if rng.random_bool(0.1) { steps * 10 } else { steps };
        for _ in 0..rng.random_range(1..=steps) {
            acknowledged.do_something(&mut store, &mut rng, 1 + loss as u64).await;
        }
        let next = tempfile::tempdir().unwrap();
        // Copied while the old process "runs": nothing of a clean stop happens to the copy.
        medium.lose_power(dir.path(), next.path(), &mut rng, chance);
        drop(store);
        dir = next;
    }
}

/// `REGENT_SEEDS` asks for a longer run.
fn seeds() -> u64 {
    std::env::var("REGENT_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(4)
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_only_synced_bytes_are_left() {
    for seed in 0..seeds() {
        survive(seed, 12, 60, 0.0).await;
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_later_pages_survive_at_random() {
    for seed in 1_000..1_000 + seeds() {
        survive(seed, 12, 60, 0.5).await;
    }
}

#[tokio::test]
async fn without_fdatasync_the_simulated_loss_loses() {
    let dir = tempfile::tempdir().unwrap();
    let medium = Medium::default();
    drop(open(dir.path(), medium.fsync()).unwrap());
    // From here on the medium is not told of syncs: what sled's own flush is worth on its own.
    let mut store = Store::open(open(dir.path(), fdatasync()).unwrap(), Commit::Grouped).unwrap();
    append(&mut store, vec![entry(1, 0, "acknowledged")]).await.unwrap();
    let next = tempfile::tempdir().unwrap();
    medium.lose_power(dir.path(), next.path(), &mut StdRng::seed_from_u64(1), 0.0);
    let mut store = Store::open(open(next.path(), fdatasync()).unwrap(), Commit::Grouped).unwrap();
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), vec![]);
}
