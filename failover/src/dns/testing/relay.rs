//! A TCP relay in front of a DNS server that loses replies after the server has acted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lose {
    /// The connection is closed in its place.
    Close,
    /// Nothing comes, and the connection stays.
    Silence,
}

/// Passes everything but the first replies to updates. Stops when dropped.
pub struct Relay {
    address: String,
    lost: Arc<AtomicUsize>,
    task: AbortHandle,
}

const OPCODE_UPDATE: u8 = 5;

impl Relay {
    /// In front of `server` (`host:port`); loses the replies to the first `count` updates.
    pub async fn start(server: &str, count: usize, how: Lose) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address").to_string();
        let lost = Arc::new(AtomicUsize::new(0));
        let (server, counter) = (server.to_owned(), lost.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, counter) = (server.clone(), counter.clone());
                tokio::spawn(async move {
                    // Either side closing is the end of it.
                    let _ = relay(client, &server, count, how, &counter).await;
                });
            }
        });
        Relay { address, lost, task: task.abort_handle() }
    }

    /// `host:port`
    pub fn addr(&self) -> String {
        self.address.clone()
    }

    /// How many replies were lost so far.
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(
    client: TcpStream,
    server: &str,
    count: usize,
    how: Lose,
    lost: &AtomicUsize,
) -> io::Result<()> {
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
    tokio::select! {
        result = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) } => result,
        result = replies(from_server, to_client, count, how, lost) => result,
    }
}

async fn replies(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    count: usize,
    how: Lose,
    lost: &AtomicUsize,
) -> io::Result<()> {
    loop {
        let length = from.read_u16().await?;
        let mut message = vec![0; usize::from(length)];
        from.read_exact(&mut message).await?;
        let opcode = message.get(2).map_or(0, |flags| (flags >> 3) & 0xf);
        if opcode == OPCODE_UPDATE && lost.load(Ordering::SeqCst) < count {
            lost.fetch_add(1, Ordering::SeqCst);
            match how {
                Lose::Close => return Ok(()),
                Lose::Silence => continue,
            }
        }
        to.write_u16(length).await?;
        to.write_all(&message).await?;
    }
}
