//! The machine's watchdog: while a postmaster is armed, a machine whose guard does not get to run,
//! or cannot kill what it has to, is reset.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::fcntl::OFlag;

use super::clock::MILLISECOND;
use super::protocol::WatchdogState;

/// Devices bark after some ten seconds and more.
pub(super) const PET_EVERY_NS: u64 = 1_000 * MILLISECOND;

/// Tells the device that it is closed on purpose.
const MAGIC_CLOSE: &[u8] = b"V";
const PET: &[u8] = b"\0";

#[derive(Debug)]
pub(super) struct Watchdog {
    path: Option<PathBuf>,
    device: Option<File>,
    petted: u64,
    failed: Option<String>,
}

impl Watchdog {
    pub(super) fn new(path: Option<PathBuf>) -> Watchdog {
        Watchdog { path, device: None, petted: 0, failed: None }
    }

    /// Opened when armed, and closed when not; petted while `may_pet`.
    ///
    /// # Errors
    /// The first time that it fails, to be logged. It is tried again at each turn.
    pub(super) fn turn(&mut self, is_armed: bool, may_pet: bool, now: u64) -> Result<(), String> {
        let Some(path) = &self.path else { return Ok(()) };
        let outcome = match (&mut self.device, is_armed) {
            (None, false) => return Ok(()),
            (None, true) => open(path).map(|device| {
                // Opening starts it.
                self.device = Some(device);
                self.petted = now;
            }),
            (Some(device), true) if may_pet && now >= self.petted + PET_EVERY_NS => {
                self.petted = now;
                device.write_all(PET)
            }
            (Some(_), true) => return Ok(()),
            (Some(device), false) => {
                let closed = device.write_all(MAGIC_CLOSE);
                self.device = None;
                closed
            }
        };
        match outcome {
            Ok(()) => {
                self.failed = None;
                Ok(())
            }
            Err(error) => {
                let why = format!("watchdog {}: {error}", path.display());
                match self.failed.replace(why.clone()) {
                    Some(_) => Ok(()),
                    None => Err(why),
                }
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.device.is_some()
    }

    pub(super) fn state(&self) -> WatchdogState {
        match (&self.path, &self.failed, &self.device) {
            (None, _, _) => WatchdogState::Absent,
            (_, Some(why), _) => WatchdogState::Failed(why.clone()),
            (_, _, Some(_)) => WatchdogState::Open,
            (_, _, None) => WatchdogState::Closed,
        }
    }
}

/// Quiets the device that a killed guard left behind, once all is proven gone.
pub(super) fn quiet(path: &PathBuf) -> io::Result<()> {
    open(path)?.write_all(MAGIC_CLOSE)
}

fn open(path: &PathBuf) -> io::Result<File> {
    // Without this a FIFO would be waited for.
    File::options().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: u64 = PET_EVERY_NS;

    #[test]
    fn it_is_petted_while_armed_and_let_go_on_purpose_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watchdog");
        std::fs::write(&path, "").unwrap();
        let written = || std::fs::read(&path).unwrap().len();
        let mut watchdog = Watchdog::new(Some(path.clone()));
        watchdog.turn(false, true, TICK).unwrap();
        assert_eq!((watchdog.state(), written()), (WatchdogState::Closed, 0));
        watchdog.turn(true, true, TICK).unwrap();
        watchdog.turn(true, true, TICK + 1).unwrap();
        assert_eq!((watchdog.state(), written()), (WatchdogState::Open, 0));
        watchdog.turn(true, true, 2 * TICK).unwrap();
        assert_eq!(written(), 1);
        watchdog.turn(true, false, 3 * TICK).unwrap();
        assert_eq!(written(), 1, "what may not be petted is not");
        watchdog.turn(false, true, 4 * TICK).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"\0V");
        assert!(!watchdog.is_open());
    }

    #[test]
    fn a_device_that_is_not_there_is_told_once_and_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watchdog");
        let mut watchdog = Watchdog::new(Some(path.clone()));
        assert!(watchdog.turn(true, true, 1).is_err());
        watchdog.turn(true, true, 2).unwrap();
        assert!(matches!(watchdog.state(), WatchdogState::Failed(_)));
        std::fs::write(&path, "").unwrap();
        watchdog.turn(true, true, 3).unwrap();
        assert_eq!(watchdog.state(), WatchdogState::Open);
    }
}
