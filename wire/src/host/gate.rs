//! A network that can be closed on purpose. To everybody outside the process is gone, as if its region were cut off:
//! streams carry nothing, and nobody is told that they do not. When it opens again, what was open before is broken.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::network::{BoxIo, BoxListener, Listener, Network};

#[derive(Clone, Default)]
pub struct Gate(Arc<State>);

#[derive(Default)]
struct State {
    /// How often it was closed or opened: while that is odd, it is closed.
    turns: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
}

impl Gate {
    pub fn is_closed(&self) -> bool {
        self.turns() % 2 == 1
    }

    pub fn close(&self) {
        let waiting = self.waiting();
        if !self.is_closed() {
            self.0.turns.fetch_add(1, Ordering::AcqRel);
        }
        drop(waiting);
    }

    pub fn open(&self) {
        let waiting = {
            let mut waiting = self.waiting();
            if self.is_closed() {
                self.0.turns.fetch_add(1, Ordering::AcqRel);
            }
            std::mem::take(&mut *waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// What began at this turn carries nothing while the gate is closed, and is broken once it was.
    fn passes(&self, began: u64, context: &Context<'_>) -> Poll<io::Result<()>> {
        if self.turns() == began && began.is_multiple_of(2) {
            return Poll::Ready(Ok(()));
        }
        let mut waiting = self.waiting();
        if self.is_closed() {
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            return Poll::Pending;
        }
        Poll::Ready(if self.turns() == began { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) })
    }

    fn turns(&self) -> u64 {
        self.0.turns.load(Ordering::Acquire)
    }

    /// Turned under this lock only, so that nobody begins to wait for what has just happened.
    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `network`, as long as the gate is open.
pub struct Gated {
    pub network: Arc<dyn Network>,
    pub gate: Gate,
}

#[async_trait]
impl Network for Gated {
    async fn connect(&self, address: &str) -> io::Result<BoxIo> {
        // Whoever asks while it is closed waits, as for a machine that does not answer.
        let began = std::future::poll_fn(|context| {
            let now = self.gate.turns();
            self.gate.passes(now, context).map_ok(|()| now)
        })
        .await?;
        let stream = self.network.connect(address).await?;
        Ok(Box::new(GatedIo { stream, began, gate: self.gate.clone() }))
    }

    async fn bind(&self, address: &str) -> io::Result<BoxListener> {
        let listener = self.network.bind(address).await?;
        Ok(Box::new(GatedListener { listener, gate: self.gate.clone() }))
    }
}

struct GatedListener {
    listener: BoxListener,
    gate: Gate,
}

#[async_trait]
impl Listener for GatedListener {
    async fn accept(&mut self) -> io::Result<(BoxIo, SocketAddr)> {
        let (stream, from) = self.listener.accept().await?;
        let stream = GatedIo { stream, began: self.gate.turns(), gate: self.gate.clone() };
        Ok((Box::new(stream), from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

pub(super) struct GatedIo {
    pub(super) stream: BoxIo,
    began: u64,
    gate: Gate,
}

impl GatedIo {
    fn through(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Pin<&mut BoxIo>>> {
        self.gate.passes(self.began, context).map_ok(|()| Pin::new(&mut self.stream))
    }
}

impl AsyncRead for GatedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = std::task::ready!(self.through(context))?;
        stream.poll_read(context, buffer)
    }
}

impl AsyncWrite for GatedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = std::task::ready!(self.through(context))?;
        stream.poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = std::task::ready!(self.through(context))?;
        stream.poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = std::task::ready!(self.through(context))?;
        stream.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = std::task::ready!(self.through(context))?;
        stream.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;
    use crate::host::TcpNetwork;

    const NOTHING_FOR: Duration = Duration::from_millis(100);
    const SOON: Duration = Duration::from_secs(20);

    fn gated() -> Gated {
        Gated { network: Arc::new(TcpNetwork), gate: Gate::default() }
    }

    #[tokio::test]
    async fn closed_it_carries_nothing_and_what_was_open_is_broken_afterwards() {
        let network = gated();
        let mut listener = network.bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut outside = TcpNetwork.connect(&address).await.unwrap();
        let (mut inside, _) = listener.accept().await.unwrap();
        outside.write_all(b"a").await.unwrap();
        assert_eq!(inside.read_u8().await.unwrap(), b'a');

        network.gate.close();
        outside.write_all(b"b").await.unwrap();
        assert!(timeout(NOTHING_FOR, inside.read_u8()).await.is_err());
        assert!(timeout(NOTHING_FOR, inside.write_u8(b'c')).await.is_err());
        let reading = tokio::spawn(async move { inside.read_u8().await });
        // One that comes meanwhile is taken, and hears nothing.
        let mut late = TcpNetwork.connect(&address).await.unwrap();
        let (mut taken, _) = listener.accept().await.unwrap();
        assert!(timeout(NOTHING_FOR, taken.write_u8(b'd')).await.is_err());
        assert!(timeout(NOTHING_FOR, late.read_u8()).await.is_err());
        assert!(timeout(NOTHING_FOR, network.connect(&address)).await.is_err());

        network.gate.open();
        let read = timeout(SOON, reading).await.unwrap().unwrap();
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(taken.write_u8(b'd').await.is_err(), "it was never whole");
        let mut again = network.connect(&address).await.unwrap();
        let (mut inside, _) = listener.accept().await.unwrap();
        again.write_all(b"e").await.unwrap();
        assert_eq!(inside.read_u8().await.unwrap(), b'e');
    }

    #[tokio::test]
    async fn a_stream_through_it_can_be_reset() {
        let network = gated();
        let mut listener = network.bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut outside = TcpNetwork.connect(&address).await.unwrap();
        let (inside, _) = listener.accept().await.unwrap();
        inside.reset_on_close();
        drop(inside);
        assert_eq!(outside.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
