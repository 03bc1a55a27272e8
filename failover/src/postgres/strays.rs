//! Backends that outlived whoever held them. A postmaster that is killed, and its guard with it, may leave
//! a backend in the midst of a commit, which nobody counts any more.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Postgres;
use super::error::PostgresError;

const GONE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl Postgres {
    /// Kills every server process that works in this data folder, and returns how many once none is left
    /// (S1). To be called when no postmaster is meant to run.
    ///
    /// # Errors
    /// Some are still there: nothing may be said of the end of writes.
    pub async fn end_strays(&self) -> Result<usize, PostgresError> {
        self.look(|inner| {
            let data = &inner.paths.data;
            end(data).map_err(|error| PostgresError::io("ending what runs in", data, &error))
        })
        .await
    }
}

fn end(data: &Path) -> std::io::Result<usize> {
    // Without a folder nothing can work in it.
    let Ok(data) = data.canonicalize() else { return Ok(0) };
    let (began, mut killed) = (Instant::now(), 0);
    loop {
        let found = working_in(&data)?;
        if found.is_empty() {
            return Ok(killed);
        }
        if began.elapsed() > GONE_WITHIN {
            let why = format!("processes {found:?} were killed and are still there");
            return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, why));
        }
        if killed == 0 {
            tracing::warn!(?found, data = %data.display(), "killing server processes that nobody holds");
            killed = found.len();
        }
        for pid in found {
            // Whoever ended meanwhile is what is wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Servers work in their data folder; a person's shell may as well, and is none.
fn working_in(data: &Path) -> std::io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let works_here = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data);
        let is_server =
            || fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm == "postgres\n");
        if works_here && is_server() {
            found.push(pid);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_servers_of_this_folder_are_ended() {
        let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let program = other.path().join("postgres");
        fs::copy("/bin/sleep", &program).unwrap();
        let start = |program: &Path, dir: &Path| {
            Command::new(program).arg("60").current_dir(dir).spawn().expect("sleep runs")
        };
        let mut stray = start(&program, ours.path());
        let mut spared = [start(Path::new("/bin/sleep"), ours.path()), start(&program, other.path())];
        // A child is a zombie until it is waited for, and works nowhere.
        assert_eq!(end(ours.path()).unwrap(), 1);
        assert!(!stray.wait().unwrap().success());
        for child in &mut spared {
            assert!(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(end(&ours.path().join("none")).unwrap(), 0);
    }
}
