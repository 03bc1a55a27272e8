//! openraft's own suite, and what it does not ask.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, StorageError};

use super::super::disk::{Disk, Op, Table};
use super::super::log_store::Store;
use super::super::memory_disk::MemoryDisk;
use super::super::state_machine::StateMachine;
use super::super::types::{Entry, LogId, Proposal, TypeConfig};
use super::super::writer::Commit;
use super::{note, open, reopen};

struct Fresh(Commit);

impl StoreBuilder<TypeConfig, Store, StateMachine, tempfile::TempDir> for Fresh {
    async fn build(&self) -> Result<(tempfile::TempDir, Store, StateMachine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(reopen(dir.path()), self.0.clone()).unwrap();
        let (machine, _) = StateMachine::new(store.clone());
        Ok((dir, store, machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openraft_suite() {
    Suite::test_all(Fresh(Commit::Grouped)).await.unwrap();
}

struct InMemory;

impl StoreBuilder<TypeConfig, Store, StateMachine> for InMemory {
    async fn build(&self) -> Result<((), Store, StateMachine), StorageError<TypeConfig>> {
        let store = Store::open(Arc::new(MemoryDisk::default()), Commit::Inline).unwrap();
        let (machine, _) = StateMachine::new(store.clone());
        Ok(((), store, machine))
    }
}

#[tokio::test]
async fn openraft_suite_as_simulated() {
    Suite::test_all(InMemory).await.unwrap();
}

#[tokio::test]
async fn a_disk_in_memory_loses_what_was_not_synced() {
    let disk = MemoryDisk::default();
    let mut store = Store::open(Arc::new(disk.clone()), Commit::Inline).unwrap();
    append(&mut store, vec![entry(1, 0, "kept"), entry(1, 1, "kept")]).await.unwrap();
    let mut key = 2u64.to_be_bytes().to_vec();
    key.extend([0, 0]);
    disk.write(vec![Op::Put(Table::Log, key, vec![0])]).unwrap();
    assert_eq!(disk.unsynced(), 1);
    disk.lose_power(0);
    let mut store = Store::open(Arc::new(disk), Commit::Inline).unwrap();
    assert_eq!(store.try_get_log_entries(..).await.unwrap().len(), 2);
}

pub(super) fn log_id(term: u64, index: u64) -> LogId {
    openraft::testing::log_id::<TypeConfig>(term, 1, index)
}

pub(super) fn entry(term: u64, index: u64, text: &str) -> Entry {
    Entry::new(log_id(term, index), EntryPayload::Normal(Proposal::new(note(text))))
}

/// Returns when the entries are acknowledged.
pub(super) async fn append(store: &mut Store, entries: Vec<Entry>) -> io::Result<()> {
    let (done, acknowledged) = TypeConfig::oneshot();
    store.append(entries, IOFlushed::signal(done)).await?;
    acknowledged.await.map_err(io::Error::other)?
}

/// Longer than one value may be, and than a page that sled keeps in its main file.
fn long_text(seed: u64, len: usize) -> String {
    (0..len).map(|i| char::from(b'a' + ((seed + i as u64) % 26) as u8)).collect()
}

#[tokio::test]
async fn long_entries_and_snapshots_stay_in_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let entries: Vec<_> = (0..20).map(|i| entry(1, i, &long_text(i, 40_000 * (i as usize % 4)))).collect();
    {
        let mut store = Store::open(reopen(dir.path()), Commit::Grouped).unwrap();
        append(&mut store, entries.clone()).await.unwrap();
        let meta = openraft::storage::SnapshotMeta { last_log_id: Some(log_id(1, 3)), ..Default::default() };
        let data = bytes::Bytes::from(long_text(7, 3_000_000));
        store.save_snapshot(&meta, &data).await.unwrap();
        // A newer one takes its place.
        let meta = openraft::storage::SnapshotMeta { last_log_id: Some(log_id(1, 5)), ..Default::default() };
        store.save_snapshot(&meta, &data.slice(..2_500_000)).await.unwrap();
    }
    let mut store = Store::open(reopen(dir.path()), Commit::Grouped).unwrap();
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), entries);
    let snapshot = store.read_snapshot().await.unwrap().unwrap();
    assert_eq!(snapshot.meta.last_log_id, Some(log_id(1, 5)));
    assert_eq!(snapshot.snapshot, long_text(7, 2_500_000).as_bytes());
    assert_eq!(std::fs::read_dir(dir.path().join("blobs")).unwrap().count(), 0, "sled never syncs blobs");
}

#[tokio::test]
async fn old_entries_are_read_back_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(reopen(dir.path()), Commit::Grouped).unwrap();
    let entries: Vec<_> = (0..400).map(|i| entry(1, i, &long_text(i, 10_000))).collect();
    for batch in entries.chunks(50) {
        append(&mut store, batch.to_vec()).await.unwrap();
    }
    // 4 MB were written and 2 MiB are held, so this crosses from disk to memory.
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), entries);
    assert_eq!(store.try_get_log_entries(3..7).await.unwrap(), entries[3..7]);
    let some = store.limited_get_log_entries(10, 400).await.unwrap();
    assert!(some.len() > 50 && some.len() < 150, "about 1 MiB, not {} entries", some.len());
    assert_eq!(some, entries[10..10 + some.len()]);
}

#[tokio::test]
async fn truncation_reaches_entries_still_on_their_way_to_disk() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut store = Store::open(reopen(dir.path()), Commit::Grouped).unwrap();
        store.append((0..300).map(|i| entry(1, i, "old")), IOFlushed::noop()).await.unwrap();
        store.truncate_after(Some(log_id(1, 99))).await.unwrap();
        append(&mut store, vec![entry(2, 100, "new")]).await.unwrap();
        store.purge(log_id(1, 49)).await.unwrap();
    }
    let mut store = Store::open(reopen(dir.path()), Commit::Grouped).unwrap();
    let state = store.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(1, 49)), Some(log_id(2, 100))));
    let found = store.try_get_log_entries(..).await.unwrap();
    assert_eq!(found.len(), 51);
    assert_eq!(found.last(), Some(&entry(2, 100, "new")));
}

#[tokio::test]
async fn appends_share_syncs() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = syncs.clone();
    let disk = open(
        dir.path(),
        Arc::new(move |file| {
            counted.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
            file.sync_data()
        }),
    );
    let mut store = Store::open(disk.unwrap(), Commit::Grouped).unwrap();
    let before = syncs.load(Ordering::Relaxed);
    let mut waiting = Vec::new();
    for i in 0..100 {
        let (done, acknowledged) = TypeConfig::oneshot();
        store.append([entry(1, i, "x")], IOFlushed::signal(done)).await.unwrap();
        waiting.push(acknowledged);
    }
    for acknowledged in waiting {
        acknowledged.await.unwrap().unwrap();
    }
    let used = syncs.load(Ordering::Relaxed) - before;
    assert!(used < 20, "100 appends took {used} syncs");
}

#[tokio::test]
async fn a_failed_sync_is_never_acknowledged_nor_anything_after_it() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let switch = broken.clone();
    let fsync = Arc::new(move |file: &std::fs::File| match switch.load(Ordering::Relaxed) {
        true => Err(io::Error::other("EIO")),
        false => file.sync_data(),
    });
    let mut store = Store::open(open(dir.path(), fsync).unwrap(), Commit::Grouped).unwrap();
    append(&mut store, vec![entry(1, 0, "good")]).await.unwrap();
    broken.store(true, Ordering::Relaxed);
    append(&mut store, vec![entry(1, 1, "bad")]).await.unwrap_err();
    broken.store(false, Ordering::Relaxed);
    append(&mut store, vec![entry(1, 2, "after")]).await.unwrap_err();
    store.save_vote(&openraft::Vote::new(3, 1)).await.unwrap_err();
}
