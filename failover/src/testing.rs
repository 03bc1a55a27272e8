//! Ports for servers that a test starts.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

/// Below those that the kernel gives away (`ip_local_port_range`), so that no connection of another test
/// takes one between its choice and its use.
const FIRST: u16 = 16_000;
const END: u16 = 32_000;

/// A port on loopback that is free for UDP and TCP.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of `count` ports in a row that are free for UDP and TCP on loopback, and that this process was
/// not given before. Each process begins elsewhere.
///
/// # Panics
/// When there are none.
pub fn free_ports(count: u16) -> u16 {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let own = FIRST + (std::process::id() * 61 % u32::from(END - FIRST)) as u16;
    let mut next = NEXT.lock().expect("no panic under this lock");
    let begin = next.unwrap_or(own);
    let rows = (begin..END - count).chain(FIRST..begin);
    let found = rows.into_iter().find(|first| (*first..first + count).all(is_free));
    let Some(first) = found else {
        drop(next);
        panic!("no {count} free ports in a row between {FIRST} and {END}")
    };
    *next = Some(first + count);
    first
}

fn is_free(port: u16) -> bool {
    let at = (Ipv4Addr::LOCALHOST, port);
    UdpSocket::bind(at).is_ok() && TcpListener::bind(at).is_ok()
}

#[test]
fn who_asks_at_the_same_moment_gets_another_port() {
    let asked = std::array::from_fn::<_, 8, _>(|_| std::thread::spawn(|| [free_ports(3), free_port()]));
    let got = asked.map(|asked| asked.join().unwrap());
    let mut ports: Vec<u16> = got.iter().flat_map(|[row, one]| (*row..row + 3).chain([*one])).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 8 * 4);
}

#[test]
fn a_port_that_somebody_holds_is_passed_over() {
    let first = free_ports(3);
    let _udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, first + 1)).unwrap();
    let _tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, first + 2)).unwrap();
    assert_eq!([first, first + 1, first + 2].map(is_free), [true, false, false]);
}
