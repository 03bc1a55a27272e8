mod callers;
mod cluster;
mod folder;
mod power;
mod recovery;
mod restart;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use decision::command::{Command, Stamped};
use decision::time::Time;

use super::data_dir::{Identity, claim};
use super::disk::{Disk, Fsync, SledDisk, fdatasync};

fn identity() -> Identity {
    Identity { cluster_id: "test".into(), member_id: 1 }
}

fn open(dir: &Path, fsync: Fsync) -> std::io::Result<Arc<dyn Disk>> {
    Ok(Arc::new(SledDisk::open(claim(dir, &identity()).expect("own folder"), fsync)?))
}

fn reopen(dir: &Path) -> Arc<dyn Disk> {
    open(dir, fdatasync()).expect("an own folder opens")
}

fn note(text: &str) -> Stamped {
    Stamped { at: Time(1), by: "test".into(), command: Command::Note { text: text.into() } }
}

const SOON: Duration = Duration::from_secs(20);
