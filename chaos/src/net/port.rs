//! The end of a region: a TUN device inside its namespace, whose frames (IP packets) come to this process.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use tun_rs::{DeviceBuilder, SyncDevice};

use super::Error;
use super::error::During;
use super::space::{Space, ip};

/// Of the private addresses, a block that is seldom used. There is no way from a namespace to elsewhere.
const NET: [u8; 3] = [10, 82, 71];
pub(super) const MOST_REGIONS: usize = 32;
const DEVICE: &str = "eth0";
const MTU: u16 = 1500;
/// So many frames wait for the switch before the kernel drops; 1,000, as usual, are 3 ms of a busy stream.
const KERNEL_QUEUE: u32 = 16_384;
/// The largest IP packet there is.
pub(super) const MOST_FRAME: usize = 65_535;

/// The address of the region at this place in the list.
pub(super) fn address(place: usize) -> Ipv4Addr {
    let [a, b, c] = NET;
    Ipv4Addr::new(a, b, c, place as u8 + 1)
}

/// The place in the list of the region a frame is for, if it is for one.
pub(super) fn destination(frame: &[u8], regions: usize) -> Option<usize> {
    // RFC 791: version in the first four bits, destination at 16. Other than IPv4 is small talk of kernels.
    if frame.len() < 20 || frame[0] >> 4 != 4 || frame[16..19] != NET {
        return None;
    }
    usize::from(frame[19]).checked_sub(1).filter(|place| *place < regions)
}

pub(super) struct Port(SyncDevice);

impl Port {
    pub(super) fn open(space: &Space, place: usize) -> Result<Port, Error> {
        // A device belongs to the namespace of the thread that makes it, so none ever lies in the machine's
        // own, and it vanishes when this process ends.
        let made = space.enter(|| {
            let device = DeviceBuilder::new()
                .name(DEVICE)
                .mtu(MTU)
                .with(|options| {
                    options.tx_queue_len(KERNEL_QUEUE);
                })
                .enable(false)
                .build_sync()?;
            device.set_nonblocking(true)?;
            Ok::<_, io::Error>(device)
        })?;
        let device = made.during(format!("making a TUN device in {}", space.name()))?;
        ip(&["-n", space.name(), "addr", "add", &format!("{}/24", address(place)), "dev", DEVICE])?;
        ip(&["-n", space.name(), "link", "set", DEVICE, "up"])?;
        Ok(Port(device))
    }

    /// The next frame the region sends; none when there is none yet.
    pub(super) fn take<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        match self.0.recv(buffer) {
            Ok(length) => Ok(Some(&buffer[..length])),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn give(&self, frame: &[u8]) -> io::Result<usize> {
        self.0.send(frame)
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_where_its_header_says() {
        let mut frame = [0; 20];
        frame[0] = 0x45;
        frame[16..].copy_from_slice(&address(2).octets());
        assert_eq!(destination(&frame, 3), Some(2));
        assert_eq!(destination(&frame, 2), None, "nobody has this address");
        assert_eq!(destination(&frame[..19], 3), None, "cut short");
        frame[19] = 0;
        assert_eq!(destination(&frame, 3), None);
        frame[16] = 224;
        assert_eq!(destination(&frame, 3), None, "multicast");
        frame[0] = 0x60;
        assert_eq!(destination(&frame, 3), None, "IPv6");
    }
}
