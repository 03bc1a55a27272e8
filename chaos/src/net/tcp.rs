//! TCP as it passes: a connection that is broken off in its midst, or whose first answer is none. Both ends see what
//! a machine in between did; checksums are right. Knows no socket and no clock.

use std::collections::HashMap;

/// Of connections whose first answer is waited for; more are not.
const MOST_FLOWS: usize = 4_096;
/// RFC 791, 9293
const IP_BYTES: usize = 20;
const TCP_BYTES: usize = 20;
const TCP: u8 = 6;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Where the parts of one segment are.
struct Segment {
    header: usize,
    payload: usize,
    end: usize,
}

/// None: it is no TCP, or not the whole of a segment.
fn segment(frame: &[u8]) -> Option<Segment> {
    let header = usize::from(*frame.first()? & 0x0f) * 4;
    let end = usize::from(u16::from_be_bytes([*frame.get(2)?, *frame.get(3)?]));
    // More fragments, or not the first.
    let is_part = u16::from_be_bytes([*frame.get(6)?, *frame.get(7)?]) & 0x3fff != 0;
    if *frame.get(9)? != TCP || is_part || header < IP_BYTES || end > frame.len() || end < header + TCP_BYTES
    {
        return None;
    }
    let payload = header + usize::from(frame[header + 12] >> 4) * 4;
    (header + TCP_BYTES..=end).contains(&payload).then_some(Segment { header, payload, end })
}

fn flags(frame: &[u8], segment: &Segment) -> u8 {
    frame[segment.header + 13]
}

/// The same as a reset: whoever gets it has lost the connection, and whoever sent it finds out when it goes on.
pub(super) fn reset(frame: &[u8]) -> Option<Vec<u8>> {
    let found = segment(frame)?;
    if flags(frame, &found) & (SYN | RST) != 0 {
        return None;
    }
    let mut reset = frame[..found.header + TCP_BYTES].to_vec();
    let length = reset.len() as u16;
    reset[2..4].copy_from_slice(&length.to_be_bytes());
    reset[found.header + 12] = ((TCP_BYTES / 4) as u8) << 4;
    reset[found.header + 13] = RST | ACK;
    seal(&mut reset, found.header);
    Some(reset)
}

/// Connections that were accepted, and whose first answer is to be garbage.
#[derive(Default)]
pub(super) struct Garbled(HashMap<Flow, u32>);

type Flow = [u8; 12];

impl Garbled {
    /// Marks the connection that is accepted by this frame, if one is.
    pub(super) fn accept(&mut self, frame: &[u8]) {
        let Some(found) = segment(frame) else { return };
        if flags(frame, &found) & (SYN | ACK) == SYN | ACK && self.0.len() < MOST_FLOWS {
            self.0.insert(flow(frame, &found), sequence(frame, &found).wrapping_add(1));
        }
    }

    /// The first answer, with other bytes in it; none: it is no such answer.
    pub(super) fn answer(&mut self, frame: &[u8], mut byte: impl FnMut() -> u8) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        let found = segment(frame)?;
        let flow = flow(frame, &found);
        let first = *self.0.get(&flow)?;
        if found.payload == found.end || sequence(frame, &found) != first {
            return None;
        }
        self.0.remove(&flow);
        let mut garbled = frame[..found.end].to_vec();
        garbled[found.payload..].fill_with(&mut byte);
        seal(&mut garbled, found.header);
        Some(garbled)
    }
}

/// Both addresses and both ports.
fn flow(frame: &[u8], segment: &Segment) -> Flow {
    let mut flow = [0; 12];
    flow[..8].copy_from_slice(&frame[12..20]);
    flow[8..].copy_from_slice(&frame[segment.header..segment.header + 4]);
    flow
}

fn sequence(frame: &[u8], segment: &Segment) -> u32 {
    let at = segment.header + 4;
    u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
}

/// Makes both checksums right.
fn seal(frame: &mut [u8], header: usize) {
    frame[10..12].fill(0);
    let of_header = checksum(sum(&frame[..header]));
    frame[10..12].copy_from_slice(&of_header.to_be_bytes());
    let at = header + 16;
    frame[at..at + 2].fill(0);
    let pseudo = sum(&frame[12..20]) + u32::from(TCP) + (frame.len() - header) as u32;
    let of_segment = checksum(pseudo + sum(&frame[header..]));
    frame[at..at + 2].copy_from_slice(&of_segment.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
    bytes.chunks(2).map(word).sum()
}

/// RFC 1071
fn checksum(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sealed, of 40 bytes and what is said.
    fn frame(flags: u8, sequence: u32, said: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; IP_BYTES + TCP_BYTES];
        frame[0] = 0x45;
        frame[9] = TCP;
        frame[12..20].copy_from_slice(&[10, 82, 71, 1, 10, 82, 71, 2]);
        frame[20..24].copy_from_slice(&[0x15, 0x38, 0xc0, 0x01]);
        frame[24..28].copy_from_slice(&sequence.to_be_bytes());
        frame[32] = 5 << 4;
        frame[33] = flags;
        frame.extend_from_slice(said);
        let length = frame.len() as u16;
        frame[2..4].copy_from_slice(&length.to_be_bytes());
        seal(&mut frame, IP_BYTES);
        frame
    }

    /// What is right sums up to nothing.
    fn is_sealed(frame: &[u8]) -> bool {
        let pseudo = sum(&frame[12..20]) + u32::from(TCP) + (frame.len() - IP_BYTES) as u32;
        checksum(sum(&frame[..IP_BYTES])) == 0 && checksum(pseudo + sum(&frame[IP_BYTES..])) == 0
    }

    #[test]
    fn a_segment_becomes_a_reset_at_its_place() {
        let reset = reset(&frame(ACK, 77, b"said")).unwrap();
        assert_eq!((reset.len(), reset[33], &reset[24..28]), (40, RST | ACK, &77_u32.to_be_bytes()[..]));
        assert!(is_sealed(&reset));
        assert!(super::reset(&frame(SYN, 77, b"")).is_none(), "there is no connection yet");
        let mut datagram = frame(ACK, 77, b"said");
        datagram[9] = 17;
        assert!(super::reset(&datagram).is_none(), "UDP");
        assert!(super::reset(&frame(ACK, 77, b"said")[..30]).is_none(), "cut short");
    }

    #[test]
    fn of_a_connection_the_first_answer_alone_is_garbled() {
        let mut garbled = Garbled::default();
        let answer = |garbled: &mut Garbled, frame: &[u8]| garbled.answer(frame, || b'?');
        assert_eq!(answer(&mut garbled, &frame(ACK, 101, b"early")), None, "nobody saw it begin");
        garbled.accept(&frame(SYN | ACK, 100, b""));
        assert_eq!(answer(&mut garbled, &frame(ACK, 101, b"")), None, "nothing is said");
        let first = answer(&mut garbled, &frame(ACK, 101, b"hello")).unwrap();
        assert_eq!(&first[40..], b"?????");
        assert!(is_sealed(&first));
        assert_eq!(answer(&mut garbled, &frame(ACK, 106, b"more")), None);
    }
}
