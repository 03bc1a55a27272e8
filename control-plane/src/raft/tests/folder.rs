//! Which folders are refused, in what words.

use std::path::Path;

use super::super::data_dir::{DataDirError, Identity, claim};
use super::super::{Settings, StartError, open_disk};
use super::{fdatasync, identity, open};

fn refusal(dir: &Path, cluster_id: &str, member_id: u64) -> StartError {
    match open_disk(&Settings::new(member_id, cluster_id, dir), fdatasync()) {
        Ok(_) => panic!("the folder was taken"),
        Err(error) => error,
    }
}

/// Everything in the folder, to see that a refusal changed nothing.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file() && entry.file_name() != "lock")
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn data_of_another_cluster_or_member_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), fdatasync()).unwrap());
    let before = contents(dir.path());
    let error = refusal(dir.path(), "other", 1);
    assert!(matches!(error, StartError::DataDir(DataDirError::OtherCluster { .. })), "{error}");
    assert!(error.to_string().contains("cluster \"test\"") && error.to_string().contains("left as it is"));
    let error = refusal(dir.path(), "test", 2);
    assert!(matches!(error, StartError::DataDir(DataDirError::OtherMember { found: 1, wanted: 2, .. })));
    assert_eq!(contents(dir.path()), before);
    open(dir.path(), fdatasync()).expect("its owner still opens it");
}

#[test]
fn a_folder_with_other_things_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("photo.jpg"), b"x").unwrap();
    let error = refusal(dir.path(), "test", 1);
    assert!(matches!(error, StartError::DataDir(DataDirError::NotOurs { .. })), "{error}");
    assert!(error.to_string().contains("photo.jpg"));
}

#[test]
fn a_folder_in_use_names_its_holder() {
    let dir = tempfile::tempdir().unwrap();
    let held = claim(dir.path(), &identity()).unwrap();
    let error = claim(dir.path(), &identity()).unwrap_err();
    assert!(matches!(error, DataDirError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(held);
    claim(dir.path(), &identity()).unwrap();
}

#[test]
fn damage_is_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    drop(claim(dir.path(), &identity()).unwrap());
    std::fs::write(dir.path().join("identity.json"), b"{\"cluster").unwrap();
    let error = claim(dir.path(), &identity()).unwrap_err();
    assert!(error.to_string().contains("identity.json cannot be read"), "{error}");
    assert!(error.to_string().contains("remove this member"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let inside = file.path().join("data");
    let error = claim(&inside, &Identity { cluster_id: "test".into(), member_id: 1 }).unwrap_err();
    assert!(matches!(error, DataDirError::Io { .. }), "{error}");
}
