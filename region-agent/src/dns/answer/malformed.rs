//! Octets that are no question: an error or nothing, never a panic.

use super::tests::table;
use super::*;
use crate::dns::fuzz;

fn rcode(request: &[u8]) -> Option<u8> {
    let mut out = Vec::new();
    match answer(&table(), request, Transport::Udp, 0, &mut out) {
        Outcome::Reply => Some(out[3] & 0x0f),
        Outcome::Drop => None,
        Outcome::Transfer(_) => panic!("a transfer over UDP"),
    }
}

/// `app.example.test. IN A` with an OPT.
const GOOD: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\
    \x03app\x07example\x04test\x00\x00\x01\x00\x01\
    \x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";

const FORMERR: Option<u8> = Some(1);

#[test]
fn every_cut_is_an_error_or_dropped() {
    assert_eq!(rcode(GOOD), Some(0));
    for len in 0..GOOD.len() {
        let expected = if len < 12 { None } else { FORMERR };
        assert_eq!(rcode(&GOOD[..len]), expected, "cut to {len}");
    }
    assert_eq!(rcode(&[GOOD, b"x"].concat()), FORMERR);
}

#[test]
fn responses_are_dropped() {
    let mut response = GOOD.to_vec();
    response[2] |= 0x80;
    assert_eq!(rcode(&response), None);
}

#[test]
fn wrong_counts_are_errors() {
    for (at, count) in
        [(4, 0), (4, 2), (4, 0xffff), (6, 1), (8, 1), (8, 0xffff), (10, 0), (10, 2), (10, 0xffff)]
    {
        let mut request = GOOD.to_vec();
        request[at..at + 2].copy_from_slice(&u16::to_be_bytes(count));
        assert_eq!(rcode(&request), FORMERR, "count {count} at {at}");
    }
}

#[test]
fn pointers_that_loop_or_look_ahead_are_errors() {
    let header = &GOOD[..11];
    for name in [
        &b"\xc0\x0c"[..],
        b"\xc0\x0d",
        b"\x01a\xc0\x0c",
        b"\xc0\xff",
        b"\xff\xff",
        b"\x01a\xc0\x0e",
        b"\x40a\x00",
    ] {
        let request = [header, b"\x00", name, b"\x00\x01\x00\x01"].concat();
        assert_eq!(rcode(&request), FORMERR, "{name:x?}");
    }
    let overlong = [header, b"\x00", &b"\x01a".repeat(200), b"\x00\x00\x01\x00\x01"].concat();
    assert_eq!(rcode(&overlong), FORMERR);
}

#[test]
fn a_broken_opt_is_an_error() {
    let opt = GOOD.len() - 11;
    for (at, octet) in [(opt + 10, 4), (opt + 9, 0xff)] {
        let mut request = GOOD.to_vec();
        request[at] = octet;
        assert_eq!(rcode(&request), FORMERR, "octet {at}");
    }
    let mut owned = GOOD[..opt].to_vec();
    owned.extend_from_slice(b"\x01a");
    owned.extend_from_slice(&GOOD[opt..]);
    assert_eq!(rcode(&owned), FORMERR, "its owner is not the root");
    let mut twice = [GOOD, &GOOD[opt..]].concat();
    twice[11] = 2;
    assert_eq!(rcode(&twice), FORMERR, "two of them");
}

#[test]
fn a_signed_question_is_not_answered_as_if_it_were_not() {
    // TSIG (250), class ANY: hmac-sha256., all zero.
    let mut request = GOOD[..GOOD.len() - 11].to_vec();
    request.extend_from_slice(b"\x03key\x00\x00\xfa\x00\xff\x00\x00\x00\x00");
    let rdata = [&b"\x0bhmac-sha256\x00"[..], &[0; 6], &[0, 30], &[0, 0], &[0x12, 0x34], &[0; 4]].concat();
    request.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    request.extend_from_slice(&rdata);
    assert_eq!(rcode(&request), Some(9));
}

/// The same entry as `fuzz/`, on random octets and on honest requests with random damage.
#[test]
fn random_octets_never_panic_and_answers_stay_within_their_limits() {
    let mut state = 0x5eed;
    for _ in 0..60_000 {
        let len = next_random(&mut state) as usize % 96;
        let octets: Vec<u8> = (0..len).map(|_| next_random(&mut state) as u8).collect();
        fuzz::request(&octets);

        let mut damaged = GOOD.to_vec();
        for _ in 0..=next_random(&mut state) % 4 {
            let at = next_random(&mut state) as usize % damaged.len();
            damaged[at] = next_random(&mut state) as u8;
        }
        damaged.truncate(damaged.len() - next_random(&mut state) as usize % 3);
        fuzz::request(&damaged);
    }
}
