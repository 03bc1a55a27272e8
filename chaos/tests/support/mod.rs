//! Sockets inside regions, and waiting. Each test file uses its part.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use chaos::net::{Count, Error, Net};

/// Far longer than anything here takes on a quiet machine; a test that needs it has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);
pub const PORT: u16 = 7000;

pub fn join(name: &str, regions: &[&str]) -> Net {
    made(Net::new(name, regions))
}

/// Says in words what is missing, such as root.
pub fn made(net: Result<Net, Error>) -> Net {
    net.unwrap_or_else(|error| panic!("{error}"))
}

pub fn at(net: &Net, region: &str) -> SocketAddr {
    (net.address(region).unwrap(), PORT).into()
}

/// Bound inside a region; gives up reading at the deadline.
pub fn udp(net: &Net, region: &str) -> UdpSocket {
    let address = at(net, region);
    let socket = net.enter(region, || UdpSocket::bind(address)).unwrap().unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// An established connection: its end in `from`, and its end in `to`.
pub fn tcp(net: &Net, from: &str, to: &str) -> (TcpStream, TcpStream) {
    let address = at(net, to);
    let listener = net.enter(to, || TcpListener::bind(address)).unwrap().unwrap();
    let near = net.enter(from, || TcpStream::connect_timeout(&address, DEADLINE)).unwrap().unwrap();
    let (far, _) = listener.accept().unwrap();
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
    }
    (near, far)
}

/// Waits until the count of a pair is as wanted.
pub fn until(net: &Net, from: &str, to: &str, wanted: impl Fn(&Count) -> bool) -> Count {
    let mut seen = Count::default();
    eventually(&format!("{from} to {to}"), || {
        seen = net.count(from, to).unwrap();
        wanted(&seen)
    });
    seen
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The processor's time a process has taken so far.
pub fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // proc(5): utime and stime are fields 14 and 15, in hundredths of a second; the second is a name in parentheses.
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    Duration::from_millis(10 * fields.map(|field| field.parse::<u64>().unwrap()).sum::<u64>())
}
