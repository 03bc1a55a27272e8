//! Names as they stand on the wire, in lower case: the keys under which a zone holds its nodes.
//!
//! Length octets are at most 63, below `A`, so lowering the whole form changes letters only.

use hickory_proto::rr::Name;

/// RFC 1035, 3.1: a name takes at most 255 octets.
const LONGEST: usize = 255;

/// A name in wire form and lower case, without allocation: the serving path makes one a query.
#[derive(Clone)]
pub(crate) struct Key {
    octets: [u8; LONGEST],
    len: usize,
}

impl Key {
    pub(crate) fn of(name: &Name) -> Self {
        let mut key = Self { octets: [0; LONGEST], len: 0 };
        for label in name.iter() {
            // Cannot overrun: `Name` itself refuses to grow past 255 octets.
            key.octets[key.len] = label.len() as u8;
            key.octets[key.len + 1..][..label.len()].copy_from_slice(label);
            key.len += 1 + label.len();
        }
        key.len += 1;
        key.octets[..key.len].make_ascii_lowercase();
        key
    }

    /// The uncompressed name at the start of `wire`; `None` where it is compressed, cut off, or
    /// too long.
    pub(crate) fn read(wire: &[u8]) -> Option<Self> {
        let mut len = 0;
        loop {
            let label = usize::from(*wire.get(len)?);
            if label > 63 {
                return None;
            }
            len += 1 + label;
            if len > LONGEST {
                return None;
            }
            if label == 0 {
                break;
            }
        }
        let mut octets = [0; LONGEST];
        octets[..len].copy_from_slice(wire.get(..len)?);
        octets[..len].make_ascii_lowercase();
        Some(Self { octets, len })
    }

    pub(crate) fn as_wire(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

/// The name itself, its parent, and so on up to the root.
pub(crate) fn ancestry(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(wire), |name| parent(name))
}

/// The name without its first label; `None` of the root.
pub(crate) fn parent(wire: &[u8]) -> Option<&[u8]> {
    match usize::from(*wire.first()?) {
        0 => None,
        label => wire.get(1 + label..),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_octets_give_the_same_key() {
        let name = Name::from_ascii("App.Example.COM.").unwrap();
        let from_name = Key::of(&name);
        assert_eq!(from_name.as_wire(), b"\x03app\x07example\x03com\x00");
        let read = Key::read(b"\x03aPP\x07exAMple\x03com\x00trailing").unwrap();
        assert_eq!(read.as_wire(), from_name.as_wire());
        assert_eq!(Key::of(&Name::root()).as_wire(), b"\x00");
    }

    #[test]
    fn ancestry_ends_at_the_root() {
        let key = Key::read(b"\x01a\x01b\x00").unwrap();
        let names: Vec<_> = ancestry(key.as_wire()).collect();
        assert_eq!(names, [&b"\x01a\x01b\x00"[..], b"\x01b\x00", b"\x00"]);
    }

    #[test]
    fn cut_off_compressed_and_overlong_names_give_none() {
        assert!(Key::read(b"").is_none());
        assert!(Key::read(b"\x03ap").is_none());
        assert!(Key::read(b"\x03app").is_none());
        assert!(Key::read(b"\xc0\x0c").is_none());
        let overlong: Vec<u8> = [&b"\x3f"[..], &[b'a'; 63]].concat().repeat(4);
        assert!(Key::read(&[overlong, vec![0]].concat()).is_none());
    }

    #[test]
    fn the_longest_names_fit() {
        // 3 * 64 + 61 + 1 for the root = 254 and, one octet longer, 255.
        for last in [60, 61] {
            let labels = [vec![b'x'; 63], vec![b'x'; 63], vec![b'x'; 63], vec![b'y'; last]];
            let wire: Vec<u8> =
                labels.iter().flat_map(|l| [&[l.len() as u8], &l[..]].concat()).chain([0]).collect();
            assert_eq!(Key::read(&wire).unwrap().as_wire(), &wire[..]);
            if let Ok(name) = Name::from_labels(labels.iter().map(|l| &l[..])) {
                assert_eq!(Key::of(&name).as_wire(), &wire[..]);
            }
        }
    }
}
