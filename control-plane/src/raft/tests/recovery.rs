//! Files that are not what was written: an error, never a panic or a silent gap.

use openraft::storage::RaftLogReader;

use super::super::disk::{Op, Table};
use super::super::log_store::Store;
use super::super::writer::Commit;
use super::store::{append, entry};
use super::{fdatasync, open, reopen};

async fn filled(dir: &std::path::Path) {
    let mut store = Store::open(reopen(dir), Commit::Grouped).unwrap();
    for i in 0..50 {
        append(&mut store, vec![entry(1, i, "text")]).await.unwrap();
    }
}

#[tokio::test]
async fn a_missing_entry_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let disk = reopen(dir.path());
    let mut key = 20u64.to_be_bytes().to_vec();
    key.extend([0, 0]);
    disk.write(vec![Op::Delete(Table::Log, key)]).unwrap();
    let error = Store::open(disk, Commit::Grouped).err().expect("an entry is missing");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("log entry 20 is missing"), "{error}");
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let disk = reopen(dir.path());
    let mut key = 20u64.to_be_bytes().to_vec();
    key.extend([0, 0]);
    disk.write(vec![Op::Put(Table::Log, key, vec![0, 0xff, 0xff, 0xff])]).unwrap();
    let error = Store::open(disk, Commit::Grouped).err().expect("an entry is garbage");
    assert!(error.to_string().contains("log entry 20"), "{error}");
}

#[tokio::test]
async fn half_written_index_caches_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    std::fs::write(dir.path().join("snap.00000000000FFFFF.generating"), b"half").unwrap();
    std::fs::write(dir.path().join("snap.0000000000000001"), b"garbage, longer than twelve").unwrap();
    let mut store = Store::open(reopen(dir.path()), Commit::Grouped).unwrap();
    assert_eq!(store.try_get_log_entries(..).await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_file_of_noise_does_not_panic() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let noise: Vec<u8> = (0..2_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(dir.path().join("db"), noise).unwrap();
    // Either it is refused, or read as far as it can be: sled takes noise for an empty file.
    if let Ok(disk) = open(dir.path(), fdatasync()) {
        let _ = Store::open(disk, Commit::Grouped);
    }
}
