use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Reads one request's head; false at the end.
async fn read_head(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(octet) => head.push(octet),
            Err(_) => return false,
        }
    }
    true
}

/// Answers each request on each connection with the same octets.
async fn answering(answer: impl Into<Vec<u8>>) -> Little {
    let answer: Arc<[u8]> = answer.into().into();
    Little::start(move |_, mut stream| {
        let answer = Arc::clone(&answer);
        async move { while read_head(&mut stream).await && stream.write_all(&answer).await.is_ok() {} }
    })
    .await
}

fn whole(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn get(little: &Little, expect_status: &[(u16, u16)], expect_body: Option<&str>) -> Check {
    check(Probe::Http {
        url: format!("http://{}/health?deep=1", little.address),
        expect_status: expect_status.to_vec(),
        expect_body: expect_body.map(str::to_owned),
    })
}

async fn probe(check: &Check) -> Result<(), String> {
    prober().probe(check, SOON).await
}

#[tokio::test]
async fn the_status_decides() {
    for (status, passes) in
        [("200 OK", true), ("302 Found", true), ("404 Not Found", false), ("500 X", false)]
    {
        let little = answering(whole(status, "body")).await;
        let result = probe(&get(&little, &[], None)).await;
        assert_eq!(result.is_ok(), passes, "{status}: {result:?}");
    }
    let little = answering(whole("503 Busy", "")).await;
    assert_eq!(probe(&get(&little, &[(200, 299), (503, 503)], None)).await, Ok(()));
    assert_eq!(probe(&get(&little, &[(200, 299)], None)).await, Err("status 503".into()));
}

#[tokio::test]
async fn a_part_of_the_body_can_be_asked_for() {
    let little = answering(whole("200 OK", "all systems ready")).await;
    assert_eq!(probe(&get(&little, &[], Some("ready"))).await, Ok(()));
    assert_eq!(probe(&get(&little, &[], Some(""))).await, Ok(()));
    let error = probe(&get(&little, &[], Some("steady"))).await.unwrap_err();
    assert_eq!(error, "status 200, but the body does not contain \"steady\"");
}

#[tokio::test]
async fn a_match_across_chunks_is_found() {
    let little = Little::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head).await.unwrap();
        for chunk in ["3\r\nxre\r\n", "2\r\nad\r\n", "2\r\nyz\r\n", "0\r\n\r\n"] {
            stream.write_all(chunk.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(probe(&get(&little, &[], Some("ready"))).await, Ok(()));
}

#[tokio::test]
async fn of_a_huge_body_the_first_64_kib_count() {
    let body = format!("{}{}{}", "x".repeat(64 * 1024 - 5), "ready", "y".repeat(1 << 20));
    let little = answering(whole("200 OK", &body)).await;
    assert_eq!(probe(&get(&little, &[], Some("ready"))).await, Ok(()));
    let error = probe(&get(&little, &[], Some("readyy"))).await.unwrap_err();
    assert_eq!(error, "status 200, but the body's first 64 KiB do not contain \"readyy\"");
    assert_eq!(probe(&get(&little, &[], None)).await, Ok(()), "nobody asked for its body");
}

#[tokio::test]
async fn an_endless_body_is_no_burden() {
    let little = Little::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    assert_eq!(probe(&get(&little, &[], None)).await, Ok(()));
    assert!(probe(&get(&little, &[], Some("ready"))).await.is_err());
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_time() {
    let little = Little::start(|_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let began = Instant::now();
    let result = prober().probe(&get(&little, &[], None), SHORT).await;
    assert_eq!(result, Err("no answer within 400ms".into()));
    assert!(began.elapsed() < SHORT * 10);
}

#[tokio::test]
async fn a_body_that_drips_fails_only_who_asked_for_it() {
    let little = Little::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(prober().probe(&get(&little, &[], None), SHORT).await, Ok(()));
    let result = prober().probe(&get(&little, &[], Some("ready")), SHORT).await;
    assert_eq!(result, Err("no answer within 400ms".into()));
}

#[tokio::test]
async fn resets_closes_and_nonsense_are_told_apart() {
    let resets = Little::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        // RST instead of FIN.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    assert_eq!(probe(&get(&resets, &[], None)).await, Err("connection reset".into()));

    let closes = Little::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200").await;
    })
    .await;
    let error = probe(&get(&closes, &[], None)).await.unwrap_err();
    assert_eq!(error, "connection closed before the answer was whole");

    let nonsense = answering("SSH-2.0-OpenSSH\r\n\r\n").await;
    let error = probe(&get(&nonsense, &[], None)).await.unwrap_err();
    assert!(error.starts_with("not HTTP"), "{error}");

    let endless_head = Little::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    let error = probe(&get(&endless_head, &[], None)).await.unwrap_err();
    assert!(error.starts_with("not HTTP"), "{error}");
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let little = answering(whole("200 OK", "body")).await;
    let (prober, check) = (prober(), get(&little, &[], Some("body")));
    for _ in 0..5 {
        assert_eq!(prober.probe(&check, SOON).await, Ok(()));
    }
    assert_eq!(little.accepted(), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_accuses_nobody() {
    // One request a connection; then it is closed without a word in the header.
    let little = Little::start(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(whole("200 OK", "body").as_bytes()).await;
        // Closed just when the next request comes in.
        read_head(&mut stream).await;
    })
    .await;
    let (prober, check) = (prober(), get(&little, &[], None));
    for _ in 0..5 {
        assert_eq!(prober.probe(&check, SOON).await, Ok(()));
    }
    assert_eq!(little.accepted(), 5);
}

#[tokio::test]
async fn what_is_no_url_says_so() {
    let of = |url: &str| check(Probe::Http { url: url.into(), expect_status: Vec::new(), expect_body: None });
    for url in ["", "/health", "ftp://a/", "http://"] {
        assert!(probe(&of(url)).await.is_err(), "{url:?}");
    }
    let refused = of(&format!("http://{}", closed_address().await));
    assert_eq!(probe(&refused).await, Err("connection refused".into()));
}
