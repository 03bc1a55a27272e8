//! A TCP relay in front of a DNS server that loses replies after the server has acted, or holds
//! updates back until a test lets them go.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lose {
    /// The connection is closed in its place.
    Close,
    /// Nothing comes, and the connection stays.
    Silence,
}

/// Passes everything but what it is told to lose or to hold. Stops when dropped.
pub struct Relay {
    address: String,
    shared: Arc<Shared>,
    task: AbortHandle,
}

struct Shared {
    server: String,
    lose: Option<Lose>,
    /// How many replies are still to be lost.
    to_lose: watch::Sender<usize>,
    held: watch::Sender<usize>,
    open: watch::Sender<bool>,
    /// After so many the next ones pass.
    most_held: usize,
}

const OPCODE_UPDATE: u8 = 5;

impl Relay {
    /// In front of `server` (`host:port`); loses the replies to the first `count` updates.
    pub async fn losing(server: &str, count: usize, how: Lose) -> Relay {
        Relay::start(server, count, Some(how), true, usize::MAX).await
    }

    /// In front of `server` (`host:port`); holds updates back until `release`.
    pub async fn holding(server: &str) -> Relay {
        Relay::start(server, 0, None, false, usize::MAX).await
    }

    /// As [`Relay::holding`], but only the first update is held back; later ones overtake it.
    pub async fn holding_first(server: &str) -> Relay {
        Relay::start(server, 0, None, false, 1).await
    }

    async fn start(server: &str, count: usize, lose: Option<Lose>, open: bool, most_held: usize) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address").to_string();
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            lose,
            to_lose: watch::Sender::new(count),
            held: watch::Sender::new(0),
            open: watch::Sender::new(open),
            most_held,
        });
        let accepting = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = accepting.clone();
                // Either side closing is the end of it.
                tokio::spawn(async move { relay(client, &shared).await });
            }
        });
        Relay { address, shared, task: task.abort_handle() }
    }

    /// `host:port`
    pub fn addr(&self) -> String {
        self.address.clone()
    }

    /// How many replies are still to be lost.
    pub fn to_lose(&self) -> usize {
        *self.shared.to_lose.borrow()
    }

    /// Waits until an update has come that is held back.
    pub async fn holds_one(&self) {
        let held = self.shared.held.subscribe().wait_for(|held| *held > 0).await.map(drop);
        held.expect("the relay holds the sender");
    }

    /// Lets all updates go, held or to come.
    pub fn release(&self) {
        self.shared.open.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(client: TcpStream, shared: &Shared) -> io::Result<()> {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = TcpStream::connect(&shared.server).await?.into_split();
    tokio::select! {
        result = requests(from_client, to_server, shared) => result,
        result = replies(from_server, to_client, shared) => result,
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) -> io::Result<()> {
    loop {
        let message = read(&mut from).await?;
        if is_update(&message) && !*shared.open.borrow() && *shared.held.borrow() < shared.most_held {
            shared.held.send_modify(|held| *held += 1);
            let opened = shared.open.subscribe().wait_for(|open| *open).await.map(drop);
            opened.map_err(io::Error::other)?;
        }
        write(&mut to, &message).await?;
    }
}

async fn replies(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) -> io::Result<()> {
    loop {
        let message = read(&mut from).await?;
        if is_update(&message)
            && let Some(lose) = shared.lose
            && shared.to_lose.send_if_modified(|left| left.checked_sub(1).map(|less| *left = less).is_some())
        {
            match lose {
                Lose::Close => return Ok(()),
                Lose::Silence => continue,
            }
        }
        write(&mut to, &message).await?;
    }
}

fn is_update(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| (flags >> 3) & 0xf == OPCODE_UPDATE)
}

async fn read(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = from.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    from.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(to: &mut OwnedWriteHalf, message: &[u8]) -> io::Result<()> {
    // One message came in one length, so the length fits.
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_be_bytes()[..], message].concat()).await
}
