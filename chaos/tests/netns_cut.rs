//! What is cut stays silent, and comes back.
#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::time::Duration;

use chaos::net::{Error, InFlight, Link, Net};
use support::{at, join, tcp, udp, until};

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[test]
fn netns_cut_one_way_lets_the_other_pass() {
    let net = join("oneway", &["a", "b", "c"]);
    let (a, b, c) = (udp(&net, "a"), udp(&net, "b"), udp(&net, "c"));
    net.cut("a", "b").unwrap();
    a.send_to(b"into the cut", at(&net, "b")).unwrap();
    a.send_to(b"past it", at(&net, "c")).unwrap();
    b.send_to(b"the other way", at(&net, "a")).unwrap();
    assert_eq!(receive(&c), b"past it");
    assert_eq!(receive(&a), b"the other way");
    until(&net, "a", "b", |count| count.cut == 1);
    net.heal().unwrap();
    a.send_to(b"after it", at(&net, "b")).unwrap();
    assert_eq!(receive(&b), b"after it", "the first that passes");
    assert_eq!(net.count("a", "b").unwrap().delivered.frames, 1);
}

#[test]
fn netns_cut_drops_what_is_under_way_unless_told_otherwise() {
    let net = join("flight", &["a", "b"]);
    let (a, b) = (udp(&net, "a"), udp(&net, "b"));
    // Long enough for the cut to come before the frame is due, also on a machine that is busy.
    let link = Link::delayed(Duration::from_secs(2));
    for (in_flight, heard) in
        [(InFlight::Dropped, &["after it"][..]), (InFlight::Delivered, &["under way", "after it"])]
    {
        net.set("a", "b", Link { in_flight, ..link }).unwrap();
        a.send_to(b"under way", at(&net, "b")).unwrap();
        until(&net, "a", "b", |count| count.in_flight == 1);
        net.cut("a", "b").unwrap();
        until(&net, "a", "b", |count| count.in_flight == 0);
        net.set("a", "b", Link::default()).unwrap();
        a.send_to(b"after it", at(&net, "b")).unwrap();
        for text in heard {
            assert_eq!(receive(&b), text.as_bytes(), "{in_flight:?}");
        }
    }
    until(&net, "a", "b", |count| count.delivered.frames == 3);
    assert_eq!(net.count("a", "b").unwrap().cut, 1, "what was dropped");
}

#[test]
fn netns_isolated_region_stalls_connections_and_heals() {
    let net = join("isolate", &["a", "b", "c"]);
    net.change(|_, _, link| link.delay = Duration::from_millis(5)).unwrap();
    let (mut near, mut far) = tcp(&net, "a", "b");
    let mut got = [0; 6];
    near.write_all(b"before").unwrap();
    far.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"before");

    net.isolate("a").unwrap();
    let before = net.count("a", "b").unwrap();
    near.write_all(b"during").unwrap();
    // TCP tries again, and again: the stall is real, and nobody is told that a host cannot be reached.
    until(&net, "a", "b", |count| count.cut >= before.cut + 3);
    far.set_nonblocking(true).unwrap();
    assert_eq!(far.read(&mut got).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(near.take_error().unwrap().map(|error| error.kind()), None);
    far.set_nonblocking(false).unwrap();
    // The others see each other, and not it.
    let (b, c) = (udp(&net, "b"), udp(&net, "c"));
    b.send_to(b"to c", at(&net, "c")).unwrap();
    assert_eq!(receive(&c), b"to c");
    let cut = net.count("c", "a").unwrap().cut;
    c.send_to(b"to a", at(&net, "a")).unwrap();
    until(&net, "c", "a", |count| count.cut == cut + 1);

    net.heal().unwrap();
    far.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"during");
    assert_eq!(net.link("a", "b").unwrap().delay, Duration::from_millis(5), "healing ends cuts only");
}

#[test]
fn netns_wrong_orders_are_told() {
    let net = join("wrong", &["a", "b"]);
    assert!(matches!(net.cut("a", "x"), Err(Error::NoSuchRegion { .. })));
    assert!(matches!(net.cut("a", "a"), Err(Error::SameRegion(_))));
    assert!(matches!(net.set("a", "b", Link { loss: 1.5, ..Link::default() }), Err(Error::Share(_))));
    assert!(matches!(Net::new("wrong", &["a", "a"]), Err(Error::Regions { .. })));
    assert!(matches!(Net::new("wrong", &["a", "b/c"]), Err(Error::Regions { .. })));
}
