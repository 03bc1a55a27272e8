//! Signed DNS messages over one TCP connection (RFC 7766, RFC 8945). Own framing instead of a
//! client: the connection, the clock and the randomness are handed in, nothing runs in the
//! background, and the server's own words on a refused signature are not lost (a client that
//! only verifies calls every one of them a bad signature: hickory-dns#3427).

use std::future::Future;
use std::io;
use std::time::Duration;

use hickory_proto::op::{DnsResponse, Message};
use hickory_proto::rr::TSigVerifier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use wire::host::{BoxIo, Host};

use super::error::DnsError;
use super::tsig::TsigKey;

/// Requests under way at a time; a server reads no more than it can answer.
const PIPELINE: usize = 32;

pub(super) struct Exchange<'a> {
    io: BoxIo,
    host: &'a Host,
    key: &'a TsigKey,
    server: &'a str,
    timing: Timing,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// For connecting, and for each reply.
    pub(super) step: Duration,
    /// For everything.
    pub(super) until: Instant,
}

struct Pending {
    id: u16,
    verifier: TSigVerifier,
    reply: Option<Message>,
}

impl<'a> Exchange<'a> {
    pub(super) async fn open(
        host: &'a Host,
        server: &'a str,
        key: &'a TsigKey,
        timing: Timing,
    ) -> Result<Self, DnsError> {
        let io = bounded(server, "connecting", timing, host.network.connect(server)).await?;
        Ok(Exchange { io, host, key, server, timing })
    }

    /// Sends all, and gives the replies in the order of the requests. After an error nothing is
    /// known of what the server did: the caller has to read.
    pub(super) async fn ask(
        &mut self,
        requests: Vec<Message>,
        doing: &'static str,
    ) -> Result<Vec<Message>, DnsError> {
        let mut replies = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let batch: Vec<Message> = requests.by_ref().take(PIPELINE).collect();
            replies.extend(self.ask_batch(batch, doing).await?);
        }
        Ok(replies)
    }

    async fn ask_batch(
        &mut self,
        batch: Vec<Message>,
        doing: &'static str,
    ) -> Result<Vec<Message>, DnsError> {
        let mut pending = Vec::with_capacity(batch.len());
        let mut bytes = Vec::new();
        let first_id = self.host.random.next_u64() as u16;
        for (n, mut message) in batch.into_iter().enumerate() {
            let id = first_id.wrapping_add(n as u16);
            message.metadata.id = id;
            let verifier = self.key.sign(&mut message, self.host.clock.now().0 / 1_000)?;
            let encoded = message.to_vec().map_err(|error| DnsError::Invalid {
                what: format!("it does not fit into one message: {error}"),
            })?;
            let length = u16::try_from(encoded.len()).map_err(|_| DnsError::Invalid {
                what: format!("it takes {} bytes, more than the 65,535 of one message", encoded.len()),
            })?;
            bytes.extend(length.to_be_bytes());
            bytes.extend(encoded);
            pending.push(Pending { id, verifier, reply: None });
        }
        let (server, timing) = (self.server, self.timing);
        bounded(server, doing, timing, self.io.write_all(&bytes)).await?;
        bounded(server, doing, timing, self.io.flush()).await?;
        for _ in 0..pending.len() {
            let raw = bounded(server, doing, timing, read_message(&mut self.io)).await?;
            self.take_reply(&mut pending, raw, doing)?;
        }
        Ok(pending.into_iter().filter_map(|pending| pending.reply).collect())
    }

    fn take_reply(&self, pending: &mut [Pending], raw: Vec<u8>, doing: &'static str) -> Result<(), DnsError> {
        let broken = |why: String| DnsError::Unreachable { server: self.server.to_owned(), doing, why };
        // Parsed first: the verifier relies on a message being well formed.
        let reply = DnsResponse::from_buffer(raw.clone())
            .map_err(|error| broken(format!("its reply is not a DNS message: {error}")))?
            .into_message();
        let expected =
            pending.iter_mut().find(|pending| pending.id == reply.metadata.id && pending.reply.is_none());
        let Some(request) = expected else { return Err(broken("it answered what was not asked".into())) };
        self.key.check(&mut request.verifier, &reply, &raw, self.server)?;
        request.reply = Some(reply);
        Ok(())
    }
}

async fn read_message(io: &mut BoxIo) -> io::Result<Vec<u8>> {
    let length = io.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    io.read_exact(&mut message).await?;
    Ok(message)
}

async fn bounded<T>(
    server: &str,
    doing: &'static str,
    timing: Timing,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, DnsError> {
    let failed = |why: String| DnsError::Unreachable { server: server.to_owned(), doing, why };
    let until = timing.until.min(Instant::now() + timing.step);
    match tokio::time::timeout_at(until, work).await {
        Ok(result) => result.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => failed("it closed the connection without an answer".into()),
            _ => failed(error.to_string()),
        }),
        Err(_) => Err(failed("no answer in time".into())),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers one request with these bytes, whatever they are.
    async fn answer(reply: Vec<u8>) -> DnsError {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            stream.read_exact(&mut vec![0; usize::from(length)]).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        });
        let key = TsigKey::new("k", "hmac-sha256", "c2VjcmV0").unwrap();
        let host = Host::system();
        let step = Duration::from_secs(10);
        let timing = Timing { step, until: Instant::now() + step };
        let mut exchange = Exchange::open(&host, &server, &key, timing).await.unwrap();
        let request = Message::new(0, MessageType::Query, OpCode::Query);
        exchange.ask(vec![request], "reading").await.unwrap_err()
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error() {
        let mut not_asked = Message::response(0, OpCode::Query).to_vec().unwrap();
        not_asked.splice(0..0, [0, 12]);
        for (reply, why) in [
            (vec![], "closed the connection"),
            (vec![0], "closed the connection"),
            (vec![0xff, 0xff, 1, 2, 3], "closed the connection"),
            (vec![0, 0], "not a DNS message"),
            ([&[0, 40][..], &[0xff; 40][..]].concat(), "not a DNS message"),
            (not_asked, "what was not asked"),
        ] {
            // One id in 65,536 is the one asked with: then the missing signature is the error.
            let error = answer(reply.clone()).await.to_string();
            assert!(error.contains(why) || error.contains("without a signature"), "{reply:?}: {error}");
        }
    }
}
