//! Connectors and listeners as values that are handed in.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::gate::GatedIo;

/// A stream of bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    fn as_any(&self) -> &dyn Any;
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl dyn Io {
    /// When dropped, the other side learns at once that it was cut off, which an orderly end would
    /// not say. Where the stream is not TCP it ends as it would have.
    pub fn reset_on_close(&self) {
        if let Some(gated) = self.as_any().downcast_ref::<GatedIo>() {
            return gated.stream.reset_on_close();
        }
        if let Some(stream) = self.as_any().downcast_ref::<TcpStream>() {
            // A stream that is broken already needs no reset.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

pub type BoxIo = Box<dyn Io>;
pub type BoxListener = Box<dyn Listener>;

/// The network a part lives in. Addresses are `host:port`.
#[async_trait]
pub trait Network: Send + Sync {
    /// Opens a stream; how long that may take is the caller's to bound.
    async fn connect(&self, address: &str) -> io::Result<BoxIo>;
    /// Port 0 asks for any free port, which `local_addr` then tells.
    async fn bind(&self, address: &str) -> io::Result<BoxListener>;
}

/// Accepts streams until dropped.
#[async_trait]
pub trait Listener: Send {
    /// Cancellation-safe: a dropped call loses no stream.
    async fn accept(&mut self) -> io::Result<(BoxIo, SocketAddr)>;
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// TCP of the machine itself: without Nagle's delay, and with keepalive so that a peer that
/// vanished without a word is noticed below HTTP/2 too.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpNetwork;

#[async_trait]
impl Network for TcpNetwork {
    async fn connect(&self, address: &str) -> io::Result<BoxIo> {
        let stream = TcpStream::connect(address).await?;
        tune(&stream)?;
        Ok(Box::new(stream))
    }

    async fn bind(&self, address: &str) -> io::Result<BoxListener> {
        Ok(Box::new(TcpListener::bind(address).await?))
    }
}

#[async_trait]
impl Listener for TcpListener {
    async fn accept(&mut self) -> io::Result<(BoxIo, SocketAddr)> {
        let (stream, from) = TcpListener::accept(self).await?;
        tune(&stream)?;
        Ok((Box::new(stream), from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn tcp_carries_bytes_both_ways() {
        let mut listener = TcpNetwork.bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut near = TcpNetwork.connect(&address).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        near.write_all(b"ping").await.unwrap();
        let mut got = [0; 4];
        far.read_exact(&mut got).await.unwrap();
        far.write_all(&got).await.unwrap();
        near.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"ping");
    }

    #[tokio::test]
    async fn a_stream_can_be_cut_off() {
        let mut listener = TcpNetwork.bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut near = TcpNetwork.connect(&address).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        far.reset_on_close();
        drop(far);
        let error = near.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn nobody_listening_is_an_error() {
        let closed = TcpNetwork.bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let error = TcpNetwork.connect(&closed).await.err().expect("the listener is gone");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
