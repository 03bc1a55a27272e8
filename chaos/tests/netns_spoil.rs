//! Connections that are broken off in their midst, or answered with garbage, as kernels see them.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::io::{ErrorKind, Read, Write};

use chaos::net::Link;
use support::{eventually, join, tcp};

#[test]
fn netns_a_reset_ends_the_connection_at_its_receiver_and_the_sender_finds_out_when_it_goes_on() {
    let net = join("reset", &["a", "b"]);
    let (mut near, mut far) = tcp(&net, "a", "b");
    near.write_all(b"whole").unwrap();
    far.read_exact(&mut [0; 5]).unwrap();
    net.set("a", "b", Link { reset: 1.0, ..Link::default() }).unwrap();
    near.write_all(b"broken").unwrap();
    assert_eq!(far.read(&mut [0; 6]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(net.count("a", "b").unwrap().spoiled > 0);
    // Half open: nobody told the sender. What it sends next is answered by a reset.
    net.set("a", "b", Link::default()).unwrap();
    eventually("the sender knows", || near.write_all(b"more").is_err());
}

#[test]
fn netns_the_first_answer_of_a_connection_is_garbage_and_the_next_is_not() {
    let net = join("garbage", &["a", "b"]);
    net.set("b", "a", Link { garbage: 1.0, ..Link::default() }).unwrap();
    let (mut near, mut far) = tcp(&net, "a", "b");
    let mut answer = [0; 32];
    far.write_all(&[b'-'; 32]).unwrap();
    near.read_exact(&mut answer).unwrap();
    assert_ne!(answer, [b'-'; 32]);
    far.write_all(&[b'-'; 32]).unwrap();
    near.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [b'-'; 32]);
}
