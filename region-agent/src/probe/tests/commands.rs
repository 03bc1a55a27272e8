use std::path::Path;

use super::*;

fn run(argv: &[&str]) -> Check {
    check(Probe::Command { argv: argv.iter().map(|word| (*word).to_owned()).collect() })
}

async fn probe(argv: &[&str]) -> Result<(), String> {
    prober().probe(&run(argv), SOON).await
}

#[tokio::test]
async fn the_exit_status_decides_and_the_last_words_are_told() {
    assert_eq!(probe(&["true"]).await, Ok(()));
    let error = probe(&["sh", "-c", "echo one >&2; echo; echo disk full >&2; exit 3"]).await.unwrap_err();
    assert_eq!(error, "sh: exit status: 3: disk full");
    let error = probe(&["/nonexistent/command"]).await.unwrap_err();
    assert!(error.starts_with("/nonexistent/command cannot be run"), "{error}");
    assert_eq!(probe(&[]).await, Err("the command is empty".into()));
}

#[tokio::test]
async fn a_talkative_command_is_not_blocked_by_a_full_pipe() {
    let error = probe(&["sh", "-c", "head -c 1000000 /dev/zero >&2; echo >&2; echo end >&2; exit 1"]).await;
    assert_eq!(error, Err("sh: exit status: 1: end".into()));
}

#[tokio::test]
async fn what_a_command_left_behind_does_not_hold_it_up() {
    let result = probe(&["sh", "-c", "sleep 2 & exit 1"]).await;
    assert_eq!(result, Err("sh: exit status: 1".into()));
}

#[tokio::test]
async fn at_the_deadline_all_that_it_started_ends() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pids");
    let script = format!("sleep 1000 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", file.display());
    let result = prober().probe(&run(&["sh", "-c", &script]), Duration::from_secs(1)).await;
    let why = result.unwrap_err();
    assert_eq!(why, "sh had not ended in time and was killed");
    let pids = std::fs::read_to_string(&file).unwrap();
    for pid in pids.split_whitespace() {
        let gone = tokio::time::timeout(SOON, async {
            while is_running(pid) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        gone.await.unwrap_or_else(|_| panic!("process {pid} still runs"));
    }
}

/// A zombie whose parent has yet to look has ended.
fn is_running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}
