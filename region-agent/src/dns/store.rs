//! The newest zones on disk, so that an agent that restarts with no controller alive still answers.
//!
//! One file: a line with the format and a SHA-256, then JSON. It is replaced whole: written beside,
//! synced, renamed, and the folder synced, so that a crash leaves the old one or the new one (S2).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use decision::dns::Zone;
use serde::{Deserialize, Serialize};

use crate::store::digest;

const FILE: &str = "zones.json";
const BESIDE: &str = "zones.json.new";
const ASIDE: &str = "zones.json.corrupt";
const FORMAT: &str = "regent-zones-2";
/// The zones alone.
const FORMAT_1: &str = "regent-zones-1";

/// The zones that are served, and of which generation the newest whole list of them was: without it
/// an older list could bring a retired one back after a restart.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Stored {
    pub(crate) listed: u64,
    pub(crate) zones: Vec<Zone>,
}

#[derive(Serialize)]
struct Storing<'a> {
    listed: u64,
    zones: &'a [&'a Zone],
}

/// What was on disk.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) stored: Stored,
    /// Why the file was not used, and where it was moved to.
    pub(crate) corrupt: Option<String>,
}

/// Reads the zones; none where there is no file yet.
///
/// A corrupt file is moved aside, not deleted, and counts as none: what a controller publishes
/// next fills the gap, whereas a refusal to start would leave the region without DNS.
///
/// # Errors
/// The folder cannot be made, or the file exists and cannot be read.
pub(crate) fn load(dir: &Path) -> io::Result<Loaded> {
    fs::create_dir_all(dir).map_err(|e| at("make the folder", dir, e))?;
    let path = dir.join(FILE);
    let octets = match fs::read(&path) {
        Ok(octets) => octets,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Ok(Loaded { stored: Stored::default(), corrupt: None });
        }
        Err(e) => return Err(at("read", &path, e)),
    };
    match parse(&octets) {
        Ok(stored) => Ok(Loaded { stored, corrupt: None }),
        Err(why) => {
            let aside = dir.join(ASIDE);
            fs::rename(&path, &aside).map_err(|e| at("move the corrupt file aside", &path, e))?;
            let corrupt = Some(format!("{why}; moved to {}", aside.display()));
            Ok(Loaded { stored: Stored::default(), corrupt })
        }
    }
}

/// Replaces the file; on disk once this returns.
///
/// # Errors
/// The old file is left as it was, unless only the last sync failed.
pub(crate) fn save(dir: &Path, listed: u64, zones: &[&Zone]) -> io::Result<()> {
    let body = serde_json::to_vec(&Storing { listed, zones }).map_err(io::Error::other)?;
    let beside = dir.join(BESIDE);
    let mut file = File::create(&beside).map_err(|e| at("create", &beside, e))?;
    file.write_all(format!("{FORMAT} {}\n", digest(&body)).as_bytes())
        .and_then(|()| file.write_all(&body))
        .and_then(|()| file.sync_all())
        .map_err(|e| at("write", &beside, e))?;
    fs::rename(&beside, dir.join(FILE)).map_err(|e| at("rename", &beside, e))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| at("sync the folder", dir, e))
}

fn parse(octets: &[u8]) -> Result<Stored, String> {
    let newline = octets.iter().position(|octet| *octet == b'\n').ok_or("it has no first line")?;
    let (line, body) = (&octets[..newline], &octets[newline + 1..]);
    let line = std::str::from_utf8(line).map_err(|_| "its first line is not text")?;
    let parsed = match line.split_once(' ') {
        Some((FORMAT | FORMAT_1, sum)) if sum != digest(body) => {
            return Err("its checksum does not match its content".to_owned());
        }
        Some((FORMAT, _)) => serde_json::from_slice(body),
        Some((FORMAT_1, _)) => serde_json::from_slice(body).map(of_zones_alone),
        _ => return Err(format!("its first line is not that of {FORMAT}")),
    };
    parsed.map_err(|e| format!("its content is not understood: {e}"))
}

/// The list that named the newest of them was no older than that one.
fn of_zones_alone(zones: Vec<Zone>) -> Stored {
    let listed = zones.iter().map(|zone| zone.generation).max().unwrap_or_default();
    Stored { listed, zones }
}

fn at(doing: &str, path: &Path, error: io::Error) -> io::Error {
    let path: PathBuf = path.into();
    io::Error::new(error.kind(), format!("cannot {doing} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::sample;

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("made/on/the/way");
        assert_eq!(load(&dir).unwrap().stored, Stored::default());
        let zones = [sample::zone(7), sample::zone(8)];
        save(&dir, 11, &zones.iter().collect::<Vec<_>>()).unwrap();
        let loaded = load(&dir).unwrap();
        assert_eq!((loaded.stored, loaded.corrupt), (Stored { listed: 11, zones: zones.to_vec() }, None));
    }

    #[test]
    fn a_file_of_zones_alone_is_of_a_list_no_older_than_they() {
        let dir = tempfile::tempdir().unwrap();
        let zones = vec![sample::zone(7), sample::zone(9), sample::zone(8)];
        let body = serde_json::to_vec(&zones).unwrap();
        let head = format!("{FORMAT_1} {}\n", digest(&body));
        fs::write(dir.path().join(FILE), [head.as_bytes(), &body].concat()).unwrap();
        let loaded = load(dir.path()).unwrap();
        assert_eq!((loaded.stored, loaded.corrupt), (Stored { listed: 9, zones }, None));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed_and_the_file_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        save(dir, 7, &[&sample::zone(7)]).unwrap();
        let good = fs::read(dir.join(FILE)).unwrap();
        let flipped = (0..good.len()).map(|i| {
            let mut bad = good.clone();
            bad[i] ^= 0x10;
            bad
        });
        let cut = (0..good.len()).map(|len| good[..len].to_vec());
        for bad in flipped.chain(cut) {
            fs::write(dir.join(FILE), &bad).unwrap();
            let loaded = load(dir).unwrap();
            assert_eq!(loaded.stored, Stored::default());
            assert!(loaded.corrupt.is_some());
            assert_eq!(fs::read(dir.join(ASIDE)).unwrap(), bad);
        }
    }

    #[test]
    fn a_crash_while_writing_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), 7, &[&sample::zone(7)]).unwrap();
        fs::write(dir.path().join(BESIDE), b"half").unwrap();
        assert_eq!(load(dir.path()).unwrap().stored.zones, [sample::zone(7)]);
    }
}
