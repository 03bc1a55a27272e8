//! How far a clone is.

/// Of `pg_basebackup`; the total is the primary's estimate, and the log comes on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub done_bytes: u64,
    pub total_bytes: u64,
}

/// Puts pieces of output together to lines, and reads those that tell of progress.
#[derive(Default)]
pub(super) struct Reader {
    line: String,
}

impl Reader {
    pub fn feed(&mut self, piece: &str, mut report: impl FnMut(Progress)) {
        for c in piece.chars() {
            match c {
                '\r' | '\n' => {
                    if let Some(progress) = parse(&self.line) {
                        report(progress);
                    }
                    self.line.clear();
                }
                // Lines of progress are short.
                c if self.line.len() < 512 => self.line.push(c),
                _ => {}
            }
        }
    }
}

/// `12345/67890 kB (18%), 0/1 tablespace`
fn parse(line: &str) -> Option<Progress> {
    let (numbers, rest) = line.trim_start().split_once(" kB (")?;
    rest.split_once("%)")?;
    let (done, total) = numbers.split_once('/')?;
    let bytes = |text: &str| text.parse::<u64>().ok()?.checked_mul(1024);
    Some(Progress { done_bytes: bytes(done)?, total_bytes: bytes(total)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> Vec<Progress> {
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        pieces.iter().for_each(|piece| reader.feed(piece, |progress| seen.push(progress)));
        seen
    }

    #[test]
    fn progress_is_read_across_pieces() {
        let seen =
            read(&["    0/23176", " kB (0%), 0/1 tablespace\r23186/23186 kB (100%), 1/1 tablespace\n"]);
        let progress = |done: u64, total: u64| Progress { done_bytes: done << 10, total_bytes: total << 10 };
        assert_eq!(seen, [progress(0, 23176), progress(23186, 23186)]);
    }

    #[test]
    fn what_is_not_progress_is_none() {
        let long = "9".repeat(100_000);
        let lines =
            ["pg_basebackup: error\n", "1/2 kB\n", "-1/2 kB (0%)\n", "18446744073709551615/1 kB (0%)\n"];
        assert_eq!(read(&lines), []);
        assert_eq!(read(&[&long, " kB (1%)\n"]), []);
    }
}
