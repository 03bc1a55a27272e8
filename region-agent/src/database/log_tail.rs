//! What a server's log says last, for a person.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

const TAIL_BYTES: u64 = 8192;
const LINES: usize = 4;

/// The last complaints of a server's log; PostgreSQL's own words, which are translated, or none.
pub(super) async fn last_words(log: &Path) -> String {
    let read = async {
        let mut file = tokio::fs::File::open(log).await?;
        let length = file.metadata().await?.len();
        file.seek(std::io::SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).await?;
        let mut text = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut text).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&text).into_owned())
    };
    complaints(&read.await.unwrap_or_default())
}

/// The last grave one, and what led to it; of what it answers to whoever asks too early, nothing.
fn complaints(log: &str) -> String {
    let own = |line: &&str| {
        !["the database system is", "Consistent recovery state"].iter().any(|w| line.contains(w))
    };
    let lines: Vec<&str> = log.lines().map(str::trim).filter(own).collect();
    let is_grave = |line: &&str| ["FATAL:", "PANIC:"].iter().any(|word| line.contains(word));
    let end = lines.iter().rposition(is_grave).map_or(lines.len(), |last| last + 1);
    lines[end.saturating_sub(LINES)..end].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_grave_line_and_what_led_to_it() {
        let log = "1 LOG:  starting\n2 LOG:  could not bind: Address already in use\n3 HINT:  wait\n\
                   4 WARNING:  could not create listen socket\n5 FATAL:  could not create any TCP/IP sockets\n\
                   6 LOG:  shut down\n7 FATAL:  the database system is starting up\n";
        let told = complaints(log);
        assert!(told.starts_with("2 LOG:  could not bind: Address already in use; 3"), "{told}");
        assert!(told.ends_with("5 FATAL:  could not create any TCP/IP sockets"), "{told}");
        assert_eq!(complaints("x LOG:  one\nx LOG:  two\n"), "x LOG:  one; x LOG:  two");
        assert_eq!(complaints(""), "");
    }
}
