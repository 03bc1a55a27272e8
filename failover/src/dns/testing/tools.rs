//! The eyes and hands of somebody else: `dig` and `nsupdate`, which share no code with Regent.

use std::process::{Output, Stdio};

use decision::name::DnsName;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::Server;

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    pub name: String,
    pub ttl_s: u32,
    pub rtype: String,
    pub value: String,
}

/// The answer section of `server` (`host:port`), sorted; empty too when nobody answers.
pub async fn dig(server: &str, name: &DnsName, rtype: &str) -> Vec<Line> {
    let Some((host, port)) = server.rsplit_once(':') else { return Vec::new() };
    let output = Command::new("dig")
        .args(["+tcp", "+norecurse", "+tries=1", "+time=5", "+noall", "+answer", "-p", port])
        .arg(format!("@{host}"))
        .args([name.as_str(), rtype])
        .stdin(Stdio::null())
        .output()
        .await
        .expect("dig is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<Line> = text.lines().filter(|line| !line.starts_with(';')).filter_map(line).collect();
    lines.sort();
    lines
}

fn line(text: &str) -> Option<Line> {
    let mut words = text.split_whitespace();
    let (name, ttl_s, _class, rtype) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let value = words.collect::<Vec<_>>().join(" ");
    Some(Line { name: name.to_owned(), ttl_s: ttl_s.parse().ok()?, rtype: rtype.to_owned(), value })
}

/// Sends `lines`, such as `add www.example.com 60 A 192.0.2.1`, as one update with the server's
/// own key. Panics when it is refused.
pub async fn nsupdate(server: &Server, lines: &[String]) {
    let addr = server.addr();
    let (host, port) = addr.rsplit_once(':').expect("an address has a port");
    let mut script = format!("server {host} {port}\nzone {}\n", server.zone());
    lines.iter().for_each(|line| script.push_str(&format!("update {line}\n")));
    script.push_str("send\n");
    let key = server.key();
    let mut child = Command::new("nsupdate")
        .args(["-v", "-y"])
        .arg(format!("{}:{}:{}", key.algorithm, key.name, key.secret))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nsupdate is installed");
    let mut input = child.stdin.take().expect("it was piped");
    input.write_all(script.as_bytes()).await.expect("nsupdate reads its script");
    drop(input);
    let Output { status, stdout, stderr } = child.wait_with_output().await.expect("nsupdate ends");
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(status.success(), "nsupdate failed: {said}\n{script}");
}
