//! One question to the named server itself, by UDP and, where the answer is cut short, by TCP. No
//! cache, no other server: what it says now is what counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use decision::dns::RecordType as Kind;
use decision::name::DnsName;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::Instant;
use wire::host::Host;
use wire::target::in_words;

/// A datagram may get lost: the question is put so often, evenly over the time there is.
const ATTEMPTS: u32 = 3;
/// Without EDNS servers send at most 512 (RFC 1035, 4.2.1).
const DATAGRAM_MAX_BYTES: usize = 4096;

pub(super) async fn probe(
    host: &Host,
    server: &str,
    name: &DnsName,
    rtype: Kind,
    expect: &[String],
    deadline: Instant,
) -> Result<(), String> {
    let owner = Name::from_ascii(format!("{}.", name.as_str().trim_end_matches('.')))
        .map_err(|error| format!("{name} is no DNS name: {error}"))?;
    let mut question = Message::new(host.random.next_u64() as u16, MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(owner, wire_type(rtype)));
    let octets = question.to_vec().map_err(|error| error.to_string())?;

    let mut answer = by_udp(server, &question, &octets, deadline).await?;
    if answer.metadata.truncation {
        answer = by_tcp(host, server, &question, &octets).await?;
    }
    judge(&answer, name, rtype, expect)
}

fn judge(answer: &Message, name: &DnsName, rtype: Kind, expect: &[String]) -> Result<(), String> {
    let code = answer.metadata.response_code;
    if code != ResponseCode::NoError {
        return Err(format!("answered {}", code.to_str()));
    }
    let values: Vec<String> = answer
        .answers
        .iter()
        .filter(|record| record.record_type() == wire_type(rtype))
        .map(|r| shown(&r.data))
        .collect();
    if values.is_empty() {
        return Err(format!("{name} has no {}", wire_type(rtype)));
    }
    let expected = |value: &String| expect.iter().any(|expected| same(rtype, expected, value));
    match expect.is_empty() || values.iter().any(expected) {
        true => Ok(()),
        false => Err(format!("answered {}, expected {}", values.join(" "), expect.join(" or "))),
    }
}

async fn by_udp(
    server: &str,
    question: &Message,
    octets: &[u8],
    deadline: Instant,
) -> Result<Message, String> {
    let server = resolve(server).await?;
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let failed = |error: std::io::Error| in_words(&error);
    let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
    // Connected: only the server's datagrams come in, and a closed port is heard of.
    socket.connect(server).await.map_err(failed)?;
    let pause = deadline.saturating_duration_since(Instant::now()) / ATTEMPTS;
    let mut buffer = vec![0; DATAGRAM_MAX_BYTES];
    for _ in 0..ATTEMPTS {
        socket.send(octets).await.map_err(failed)?;
        let until = Instant::now() + pause;
        while let Ok(received) = tokio::time::timeout_at(until, socket.recv(&mut buffer)).await {
            let length = received.map_err(failed)?;
            match Message::from_vec(&buffer[..length]) {
                Ok(answer) if answers(&answer, question) => return Ok(answer),
                // Somebody guesses, or an old answer: wait on.
                Ok(_) | Err(_) => {}
            }
        }
    }
    // The caller's own deadline says so.
    std::future::pending().await
}

async fn by_tcp(host: &Host, server: &str, question: &Message, octets: &[u8]) -> Result<Message, String> {
    let failed = |error: std::io::Error| format!("TCP: {}", in_words(&error));
    let mut stream = host.network.connect(server).await.map_err(failed)?;
    let length = u16::try_from(octets.len()).map_err(|_| "the question is too long".to_owned())?;
    let framed = [&length.to_be_bytes()[..], octets].concat();
    stream.write_all(&framed).await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await.map_err(failed)?;
    let answer = Message::from_vec(&buffer).map_err(|error| format!("TCP: not DNS: {error}"))?;
    match answers(&answer, question) {
        true => Ok(answer),
        false => Err("TCP: the answer is to another question".to_owned()),
    }
}

fn answers(answer: &Message, question: &Message) -> bool {
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id
        && (answer.queries == question.queries || answer.queries.is_empty())
}

async fn resolve(server: &str) -> Result<SocketAddr, String> {
    let mut found = tokio::net::lookup_host(server).await.map_err(|error| in_words(&error))?;
    found.next().ok_or_else(|| format!("{server} has no address"))
}

fn wire_type(rtype: Kind) -> RecordType {
    match rtype {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Cname => RecordType::CNAME,
        Kind::Txt => RecordType::TXT,
    }
}

fn shown(data: &RData) -> String {
    match data {
        RData::TXT(text) => text.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect(),
        RData::CNAME(name) => name.0.to_ascii().to_ascii_lowercase().trim_end_matches('.').to_owned(),
        other => other.to_string(),
    }
}

fn same(rtype: Kind, expected: &str, value: &str) -> bool {
    match rtype {
        Kind::A | Kind::Aaaa => expected.parse::<IpAddr>().is_ok_and(|a| value.parse() == Ok(a)),
        Kind::Cname => expected.trim_end_matches('.').eq_ignore_ascii_case(value),
        Kind::Txt => expected == value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_compare_by_what_they_mean() {
        assert!(same(Kind::Aaaa, "2001:DB8:0::1", "2001:db8::1"));
        assert!(same(Kind::Cname, "Web.Example.", "web.example"));
        assert!(!same(Kind::A, "192.0.2.1", "192.0.2.10"));
        assert!(!same(Kind::Txt, "a", "A"));
    }
}
