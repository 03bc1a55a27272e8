//! `turmoil`'s TCP as Regent's network. Whatever moves on a connection is part of the trace, so that two runs which
//! part ways are told apart at once.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};
use wire::host::{BoxIo, BoxListener, Listener, Network};

use super::ground::Ground;
use super::machine::name;
use crate::sim::ground::Machine;

const OPENED: u64 = 1;
const ACCEPTED: u64 = 2;
const READ: u64 = 3;
const WROTE: u64 = 4;

pub struct Turmoil {
    pub ground: Ground,
    pub machine: Machine,
}

impl Turmoil {
    fn is_cut_off(&self, address: &str) -> bool {
        let truth = self.ground.truth();
        let is_target =
            |machine: &Machine| address.starts_with(&format!("{}:", name(truth.layout, *machine)));
        let target = (0..truth.layout.machines()).find(is_target);
        target
            .is_some_and(|to| !truth.ways.is_open(self.machine, to) || !truth.ways.is_open(to, self.machine))
    }

    fn traced(&self, kind: u64, stream: TcpStream) -> BoxIo {
        let number = self.ground.connection();
        self.ground.happens(kind, self.machine, number);
        Box::new(Traced { stream, ground: self.ground.clone(), machine: self.machine, number })
    }
}

#[async_trait]
impl Network for Turmoil {
    async fn connect(&self, address: &str) -> io::Result<BoxIo> {
        match TcpStream::connect(address).await {
            Ok(stream) => Ok(self.traced(OPENED, stream)),
            // Where nothing comes through nobody refuses either: turmoil says so of what is merely lost.
            Err(_) if self.is_cut_off(address) => std::future::pending().await,
            Err(error) => Err(error),
        }
    }

    async fn bind(&self, address: &str) -> io::Result<BoxListener> {
        let listener = TcpListener::bind(address).await?;
        Ok(Box::new(Listening {
            listener,
            network: Turmoil { ground: self.ground.clone(), machine: self.machine },
        }))
    }
}

struct Listening {
    listener: TcpListener,
    network: Turmoil,
}

#[async_trait]
impl Listener for Listening {
    async fn accept(&mut self) -> io::Result<(BoxIo, SocketAddr)> {
        let (stream, from) = self.listener.accept().await?;
        Ok((self.network.traced(ACCEPTED, stream), from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct Traced {
    stream: TcpStream,
    ground: Ground,
    machine: Machine,
    number: u64,
}

impl Traced {
    fn moved(&self, kind: u64, bytes: usize) {
        self.ground.happens(kind, self.machine, self.number << 32 | bytes as u64);
    }
}

impl AsyncRead for Traced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.moved(READ, buf.filled().len() - before);
        }
        read
    }
}

impl AsyncWrite for Traced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(wrote) = &wrote {
            self.moved(WROTE, *wrote.as_ref().unwrap_or(&0));
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
