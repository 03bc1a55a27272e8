//! Timelines: the history file of one, and the names of its log segments.

use decision::lsn::Lsn;

/// A timeline that was left for the next, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub timeline: u32,
    pub at: Lsn,
}

/// The ancestors of a timeline, oldest first.
pub fn parse(text: &str) -> Result<Vec<Left>, String> {
    let mut history: Vec<Left> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let strange = || format!("{line:?} is not a line of a timeline history");
        let mut words = line.split_whitespace();
        let timeline = words.next().and_then(|word| word.parse().ok()).ok_or_else(strange)?;
        let at = words.next().and_then(|word| word.parse().ok()).ok_or_else(strange)?;
        if history.last().is_some_and(|last| last.timeline >= timeline) {
            return Err(format!("timeline {timeline} stands after a later one"));
        }
        history.push(Left { timeline, at });
    }
    Ok(history)
}

/// Where two timelines part: the last timeline that both have, and the position up to which they
/// share it. `ours` and `theirs` are each a history and the timeline it is of.
pub fn divergence(ours: (&[Left], u32), theirs: (&[Left], u32)) -> Option<Left> {
    let all = |(history, newest): (&[Left], u32)| -> Vec<Left> {
        let newest = Left { timeline: newest, at: Lsn(u64::MAX) };
        history.iter().copied().chain([newest]).collect()
    };
    let mut parted = None;
    for (our, their) in all(ours).iter().zip(all(theirs).iter()) {
        if our.timeline != their.timeline {
            break;
        }
        parted = Some(Left { timeline: our.timeline, at: our.at.min(their.at) });
        if our.at != their.at {
            break;
        }
    }
    parted
}

/// `00000002000000000000000A`: timeline 2, segment 10 of 16 MiB.
pub fn segment_of(name: &str, segment_bytes: u64) -> Option<(u32, u64)> {
    if name.len() != 24 || !name.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte)) {
        return None;
    }
    let part = |from: usize| u64::from_str_radix(name.get(from..from + 8)?, 16).ok();
    let per_log = (1_u64 << 32).checked_div(segment_bytes)?;
    let low = part(16)?;
    if low >= per_log {
        return None;
    }
    Some((u32::try_from(part(0)?).ok()?, part(8)?.checked_mul(per_log)?.checked_add(low)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_read() {
        let text = "1\t0/3000110\tno recovery target specified\n\n2\t0/5000000\tbefore 2000-01-01\n";
        let history = parse(text).unwrap();
        let left = |timeline, at| Left { timeline, at: Lsn(at) };
        assert_eq!(history, [left(1, 0x300_0110), left(2, 0x500_0000)]);
        assert_eq!(parse("# nothing\n").unwrap(), []);
        for text in ["x", "1", "1 y", "2\t0/1\n1\t0/2", "1\t0/1\n1\t0/2", "-1\t0/1", "4294967296\t0/1"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn timelines_part_where_the_first_of_them_left_the_common_one() {
        let left = |timeline, at| Left { timeline, at: Lsn(at) };
        // An old primary still on 1, the new one left 1 at 100.
        assert_eq!(divergence((&[], 1), (&[left(1, 100)], 2)), Some(left(1, 100)));
        // Both left 1, at different places, for the same number.
        assert_eq!(divergence((&[left(1, 90)], 2), (&[left(1, 100)], 2)), Some(left(1, 90)));
        // Both on 3 by the same way: nothing parts them.
        let way = [left(1, 10), left(2, 20)];
        assert_eq!(divergence((&way, 3), (&way, 3)), Some(left(3, u64::MAX)));
        assert_eq!(divergence((&way, 3), (&way, 4)), Some(left(2, 20)));
        assert_eq!(divergence((&[], 1), (&[], 2)), None);
    }

    #[test]
    fn only_names_of_segments_are_segments() {
        let mib16 = 16 << 20;
        assert_eq!(segment_of("00000002000000000000000A", mib16), Some((2, 10)));
        assert_eq!(segment_of("000000010000000100000000", mib16), Some((1, 256)));
        for name in [
            "00000002.history",
            "",
            "00000002000000000000000a",
            "000000020000000000000100",
            "00000002000000000000000A.partial",
        ] {
            assert_eq!(segment_of(name, mib16), None, "{name}");
        }
        assert_eq!(segment_of("00000002000000000000000A", 0), None);
    }
}
