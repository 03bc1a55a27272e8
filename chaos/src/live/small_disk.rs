//! A file system of a few hundred megabytes for one region's database, so that it can be filled without filling the
//! machine's.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::posix_fallocate;

use super::folder;

/// Holds a database of some gigabytes of log over an hour, and copies of it; what is not used takes no room.
const BYTES: u64 = 3 << 30;
const FILLER: &str = "filler";
/// Room is taken in pieces of this size, then ever smaller ones.
const PIECE: i64 = 1 << 30;
const LEAST: i64 = 4096;

/// Mounted; unmounted when dropped.
pub(super) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// `image` is made; `at` is a folder.
    pub fn mount(image: &Path, at: &Path) -> anyhow::Result<SmallDisk> {
        File::create_new(image)
            .and_then(|file| file.set_len(BYTES))
            .with_context(|| image.display().to_string())?;
        // As root may take the last block here, so may the server.
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-i", "65536"]).arg(image))?;
        run(Command::new("mount").args(["-o", "loop,noatime"]).arg(image).arg(at))?;
        Ok(SmallDisk { at: at.to_owned() })
    }

    /// Until nothing is left. Gives how many bytes that took.
    pub fn fill(&self) -> anyhow::Result<u64> {
        let path = self.at.join(FILLER);
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        let (mut length, mut piece) = (0, PIECE);
        while piece >= LEAST {
            match posix_fallocate(&file, length, piece) {
                Ok(()) => length += piece,
                Err(Errno::ENOSPC) => piece /= 2,
                Err(error) => return Err(error).with_context(|| format!("filling {}", path.display())),
            }
        }
        Ok(length as u64)
    }

    /// Gives the room back.
    pub fn free(&self) -> anyhow::Result<()> {
        let path = self.at.join(FILLER);
        fs::remove_file(&path).with_context(|| path.display().to_string())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg(&self.at)) {
            eprintln!("{} stays mounted: {error:#}", self.at.display());
        }
    }
}

/// Unmounts what runs left that were killed. Gives where it was.
pub fn sweep() -> anyhow::Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
    let left: Vec<PathBuf> = mounts.lines().filter_map(left_behind).collect();
    for at in &left {
        run(Command::new("umount").arg(at))?;
    }
    Ok(left)
}

/// By the folder of a run, which names its process.
fn left_behind(mount: &str) -> Option<PathBuf> {
    let at = mount.split(' ').nth(1)?;
    let (pid, _) = at.strip_prefix(folder::OF_RUNS)?.split_once('-')?;
    let pid: u32 = pid.parse().ok()?;
    (!Path::new(&format!("/proc/{pid}")).exists()).then(|| at.into())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_disks_of_those_who_are_gone_are_left_behind() {
        let of = |pid: u32| {
            left_behind(&format!("/dev/loop0 /var/tmp/regent-live-{pid}-0/postgres/eu ext4 rw 0 0"))
        };
        // More than there can be.
        assert_eq!(of(u32::MAX), Some(format!("/var/tmp/regent-live-{}-0/postgres/eu", u32::MAX).into()));
        assert_eq!(of(std::process::id()), None);
        assert_eq!(left_behind("/dev/vda / ext4 rw 0 0"), None);
    }
}
