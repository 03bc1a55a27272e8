//! The line to the one client. Neither what it sends nor what it does not read holds the guard up.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::poll::PollFlags;

use super::protocol::MOST_LINE;

const READ_AT_ONCE: usize = 16 * 1024;
/// More that it does not read, and it is let go.
const MOST_UNREAD: usize = 4 * MOST_LINE;

#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

/// Why a client is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("it closed the connection")]
    Closed,
    #[error("it sent a line of more than 64 KiB")]
    TooLong,
    #[error("it does not read what it is told")]
    Deaf,
}

impl Link {
    pub(super) fn new(stream: UnixStream) -> io::Result<Link> {
        stream.set_nonblocking(true)?;
        Ok(Link { stream, inbox: Vec::new(), outbox: Vec::new() })
    }

    pub(super) fn wanted(&self) -> PollFlags {
        match self.outbox.is_empty() {
            true => PollFlags::POLLIN,
            false => PollFlags::POLLIN | PollFlags::POLLOUT,
        }
    }

    /// Reads once, which is bounded.
    pub(super) fn read(&mut self) -> Result<(), Broken> {
        let mut octets = [0; READ_AT_ONCE];
        match self.stream.read(&mut octets) {
            Ok(0) => Err(Broken::Closed),
            Ok(count) => {
                self.inbox.extend_from_slice(&octets[..count]);
                Ok(())
            }
            Err(error) if is_transient(&error) => Ok(()),
            Err(_) => Err(Broken::Closed),
        }
    }

    /// The next whole line that was read, without its newline.
    pub(super) fn next_line(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        match self.inbox.iter().position(|octet| *octet == b'\n') {
            Some(end) if end < MOST_LINE => {
                let mut line: Vec<u8> = self.inbox.drain(..=end).collect();
                line.pop();
                Ok(Some(line))
            }
            None if self.inbox.len() < MOST_LINE => Ok(None),
            _ => Err(Broken::TooLong),
        }
    }

    /// Sends what can be sent now, and keeps the rest.
    pub(super) fn send(&mut self, line: &[u8]) -> Result<(), Broken> {
        if self.outbox.len() + line.len() > MOST_UNREAD {
            return Err(Broken::Deaf);
        }
        self.outbox.extend_from_slice(line);
        self.flush()
    }

    pub(super) fn flush(&mut self) -> Result<(), Broken> {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(count) if count > 0 => {
                    self.outbox.drain(..count);
                }
                Err(error) if is_transient(&error) => return Ok(()),
                Ok(_) | Err(_) => return Err(Broken::Closed),
            }
        }
        Ok(())
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Link, UnixStream) {
        let (own, other) = UnixStream::pair().unwrap();
        (Link::new(own).unwrap(), other)
    }

    #[test]
    fn lines_come_whole_and_in_turn() {
        let (mut link, mut other) = pair();
        other.write_all(b"one\n\ntw").unwrap();
        link.read().unwrap();
        assert_eq!(link.next_line(), Ok(Some(b"one".to_vec())));
        assert_eq!(link.next_line(), Ok(Some(Vec::new())));
        assert_eq!(link.next_line(), Ok(None));
        other.write_all(b"o\n").unwrap();
        link.read().unwrap();
        assert_eq!(link.next_line(), Ok(Some(b"two".to_vec())));
        link.read().unwrap();
        drop(other);
        assert_eq!(link.read(), Err(Broken::Closed));
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let (mut link, mut other) = pair();
        for _ in 0..MOST_LINE / READ_AT_ONCE {
            assert_eq!(link.next_line(), Ok(None));
            other.write_all(&[b'x'; READ_AT_ONCE]).unwrap();
            link.read().unwrap();
        }
        assert_eq!(link.next_line(), Err(Broken::TooLong));
    }

    #[test]
    fn whoever_does_not_read_is_given_up_without_waiting() {
        let (mut link, other) = pair();
        let line = vec![b'x'; MOST_LINE];
        let broken = (0..1_000).find_map(|_| link.send(&line).err());
        assert_eq!(broken, Some(Broken::Deaf));
        drop(other);
        assert_eq!(link.flush(), Err(Broken::Closed));
    }
}
