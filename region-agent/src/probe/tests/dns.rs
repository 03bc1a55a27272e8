use decision::dns::RecordType as Kind;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{Name, RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::*;

/// Answers each datagram with whatever `each` gives, in that order.
async fn answering(each: impl Fn(usize, Message) -> Vec<Message> + Send + 'static) -> (String, Task) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        for n in 0.. {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else { return };
            for answer in each(n, Message::from_vec(&buffer[..length]).unwrap()) {
                let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
            }
        }
    });
    (address, Task(task))
}

struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn reply(question: &Message, code: ResponseCode, data: &[RData]) -> Message {
    let mut reply = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    reply.metadata.response_code = code;
    reply.queries.clone_from(&question.queries);
    for data in data {
        reply.add_answer(Record::from_rdata(question.queries[0].name().clone(), 60, data.clone()));
    }
    reply
}

fn a(last: u8) -> RData {
    RData::A(A::new(192, 0, 2, last))
}

fn ask(server: &str, expect: &[&str]) -> Check {
    check(Probe::Dns {
        server: server.to_owned(),
        name: "www.example.test".into(),
        rtype: Kind::A,
        expect: expect.iter().map(|value| (*value).to_owned()).collect(),
    })
}

async fn probe(check: &Check) -> Result<(), String> {
    prober().probe(check, SOON).await
}

#[tokio::test]
async fn one_of_the_expected_must_be_among_the_answers() {
    let (server, _task) =
        answering(|_, question| vec![reply(&question, ResponseCode::NoError, &[a(1), a(2)])]).await;
    assert_eq!(probe(&ask(&server, &[])).await, Ok(()));
    assert_eq!(probe(&ask(&server, &["192.0.2.9", "192.0.2.2"])).await, Ok(()));
    let error = probe(&ask(&server, &["192.0.2.3"])).await.unwrap_err();
    assert_eq!(error, "answered 192.0.2.1 192.0.2.2, expected 192.0.2.3");
}

#[tokio::test]
async fn no_data_and_no_name_are_told_apart() {
    let (server, _task) = answering(|_, question| vec![reply(&question, ResponseCode::NXDomain, &[])]).await;
    assert_eq!(probe(&ask(&server, &[])).await, Err("answered Non-Existent Domain".into()));
    let alias = RData::CNAME(CNAME(Name::from_ascii("a.example.").unwrap()));
    let (server, _task) = answering(move |_, question| {
        vec![reply(&question, ResponseCode::NoError, std::slice::from_ref(&alias))]
    })
    .await;
    assert_eq!(probe(&ask(&server, &[])).await, Err("www.example.test has no A".into()));
}

#[tokio::test]
async fn a_lost_datagram_is_asked_for_again() {
    let (server, _task) = answering(|n, question| match n {
        0 => Vec::new(),
        _ => vec![reply(&question, ResponseCode::NoError, &[a(1)])],
    })
    .await;
    assert_eq!(prober().probe(&ask(&server, &[]), Duration::from_secs(3)).await, Ok(()));
}

#[tokio::test]
async fn answers_to_other_questions_are_not_believed() {
    let (server, _task) = answering(|_, question| {
        let mut guessed = reply(&question, ResponseCode::NoError, &[a(66)]);
        guessed.metadata.id ^= 1;
        let mut echoed = question.clone();
        echoed.metadata.message_type = MessageType::Query;
        vec![guessed, echoed, reply(&question, ResponseCode::NoError, &[a(1)])]
    })
    .await;
    assert_eq!(probe(&ask(&server, &["192.0.2.1"])).await, Ok(()));
}

#[tokio::test]
async fn what_is_cut_short_is_asked_by_tcp() {
    // The same port for both.
    let (server, little, _task) = loop {
        let (server, task) = answering(|_, question| {
            let mut cut = reply(&question, ResponseCode::NoError, &[]);
            cut.metadata.truncation = true;
            vec![cut]
        })
        .await;
        if let Ok(listener) = TcpListener::bind(&server).await {
            break (server, listener, task);
        }
    };
    let serving = tokio::spawn(async move {
        let (mut stream, _) = little.accept().await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut octets = vec![0; length.into()];
        stream.read_exact(&mut octets).await.unwrap();
        let question = Message::from_vec(&octets).unwrap();
        let answer = reply(&question, ResponseCode::NoError, &[a(7)]).to_vec().unwrap();
        stream.write_u16(answer.len() as u16).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    });
    assert_eq!(probe(&ask(&server, &["192.0.2.7"])).await, Ok(()));
    serving.await.unwrap();
}

#[tokio::test]
async fn a_silent_server_and_a_closed_port_fail() {
    let (server, _task) = answering(|_, _| Vec::new()).await;
    let result = prober().probe(&ask(&server, &[]), SHORT).await;
    assert_eq!(result, Err("no answer within 400ms".into()));
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    assert_eq!(probe(&ask(&closed, &[])).await, Err("connection refused".into()));
}
