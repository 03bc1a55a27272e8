//! From values in presentation form to record data.

use decision::dns as desired;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{Name, RData, RecordType};

/// The wire's number for a type of the desired state.
pub(crate) fn record_type(rtype: desired::RecordType) -> RecordType {
    match rtype {
        desired::RecordType::A => RecordType::A,
        desired::RecordType::Aaaa => RecordType::AAAA,
        desired::RecordType::Cname => RecordType::CNAME,
        desired::RecordType::Txt => RecordType::TXT,
    }
}

/// A name of the desired state, which carries no closing dot.
pub(crate) fn name(text: &str) -> Result<Name, String> {
    if text.is_empty() || text == "." {
        return Err("the root is no name for a zone or a record here".to_owned());
    }
    let mut name = Name::from_ascii(text.to_ascii_lowercase()).map_err(|e| e.to_string())?;
    name.set_fqdn(true);
    Ok(name)
}

/// One value; the error says what was expected.
pub(crate) fn parse(rtype: desired::RecordType, value: &str) -> Result<RData, String> {
    match rtype {
        desired::RecordType::A => {
            value.parse().map(|ip| RData::A(A(ip))).map_err(|_| "expected an IPv4 address".to_owned())
        }
        desired::RecordType::Aaaa => {
            value.parse().map(|ip| RData::AAAA(AAAA(ip))).map_err(|_| "expected an IPv6 address".to_owned())
        }
        desired::RecordType::Cname => name(value).map(|target| RData::CNAME(CNAME(target))),
        desired::RecordType::Txt => Ok(RData::TXT(TXT::from_bytes(character_strings(value)))),
    }
}

/// RFC 1035, 3.3.14: a text longer than 255 octets is carried as several character-strings.
fn character_strings(text: &str) -> Vec<&[u8]> {
    if text.is_empty() { vec![b""] } else { text.as_bytes().chunks(255).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_wrong_kind_say_what_was_expected() {
        assert_eq!(parse(desired::RecordType::A, "::1").unwrap_err(), "expected an IPv4 address");
        assert_eq!(parse(desired::RecordType::Aaaa, "192.0.2.1").unwrap_err(), "expected an IPv6 address");
        assert!(parse(desired::RecordType::Cname, "a..b").is_err());
        assert!(name("").is_err() && name(".").is_err());
    }

    #[test]
    fn long_texts_are_cut_into_character_strings() {
        let RData::TXT(txt) = parse(desired::RecordType::Txt, &"x".repeat(600)).unwrap() else {
            panic!("not a TXT")
        };
        assert_eq!(txt.txt_data.iter().map(|s| s.len()).collect::<Vec<_>>(), [255, 255, 90]);
    }
}
