//! The small words of `regions.yml`: durations, shares, names, addresses. Each knows how it is
//! written, what to say when it is not, and its part of the JSON Schema.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use decision::config::Window;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as _};

use super::address::{Endpoint, HostPort, NameInDns, WebUrl};

/// What is wrong with a word, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) fix: String,
}

pub(super) fn fault<T>(message: impl Into<String>, fix: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { message: message.into(), fix: fix.into() })
}

pub(super) trait Scalar: Sized {
    /// Its name in the schema, under the keyword [`KEYWORD`].
    const KIND: &'static str;
    /// In an error: "must be …".
    const WHAT: &'static str;
    /// For editors, which know nothing of [`Scalar::parse`]; it may allow more, never less.
    const PATTERN: &'static str;
    const EXAMPLES: &'static [&'static str];
    /// What YAML may take it for.
    const TYPES: &'static [&'static str] = &["string"];
    fn parse(text: &str) -> Result<Self, Fault>;
}

/// The schema keyword that tells the loader which [`Scalar`] stands there.
pub(super) const KEYWORD: &str = "x-regent";

macro_rules! scalars {
    ($($type:ident),* $(,)?) => {
        $(
            impl<'de> Deserialize<'de> for $type {
                fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                    let text = String::deserialize(from)?;
                    Self::parse(&text).map_err(|fault| D::Error::custom(fault.message))
                }
            }
            impl JsonSchema for $type {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($type).into()
                }
                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    let mut schema = json_schema!({
                        "type": "string",
                        "pattern": Self::PATTERN,
                        "examples": Self::EXAMPLES,
                        KEYWORD: Self::KIND,
                    });
                    if Self::TYPES.len() > 1 {
                        schema.insert("type".to_owned(), serde_json::json!(Self::TYPES));
                    }
                    schema
                }
            }
        )*
        /// What stands in the schema under [`KEYWORD`], applied to a word; none: not a kind we know.
        pub(super) fn judge(kind: &str, text: &str) -> Option<Result<(), Fault>> {
            match kind {
                $($type::KIND => Some($type::parse(text).map(drop)),)*
                _ => None,
            }
        }
        pub(super) fn what(kind: &str) -> Option<&'static str> {
            match kind {
                $($type::KIND => Some($type::WHAT),)*
                _ => None,
            }
        }
    };
}
scalars!(
    Time,
    TimeOrZero,
    Percent,
    Ttl,
    RegionWord,
    ServiceWord,
    Endpoint,
    WebUrl,
    HostPort,
    NameInDns,
    StatusRange,
    Size,
    Setting,
    Weekly
);

/// A duration above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

/// A duration that may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeOrZero(pub(super) Duration);

const TIME_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$";
const TIME_FIX: &str = "write for example 500ms, 30s, 5m or 1h30m";
/// Longer is a slip of the pen, and sums of such times must not overflow.
const TIME_MAX: Duration = Duration::from_secs(366 * 86_400);

impl Scalar for Time {
    const KIND: &'static str = "duration";
    const WHAT: &'static str = "a duration, such as 30s";
    const PATTERN: &'static str = TIME_PATTERN;
    const EXAMPLES: &'static [&'static str] = &["500ms", "30s", "1h30m"];
    fn parse(text: &str) -> Result<Self, Fault> {
        match duration(text)? {
            Duration::ZERO => fault("a time of zero makes no sense here", "write for example 500ms or 30s"),
            time => Ok(Self(time)),
        }
    }
}

impl Scalar for TimeOrZero {
    const KIND: &'static str = "duration-or-zero";
    const WHAT: &'static str = "a duration, such as 30s or 0s";
    const PATTERN: &'static str = TIME_PATTERN;
    const EXAMPLES: &'static [&'static str] = &["0s", "30s", "1h30m"];
    fn parse(text: &str) -> Result<Self, Fault> {
        duration(text).map(Self)
    }
}

/// Digits only: Rust's own parser takes a plus sign too.
pub(super) fn whole<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn duration(text: &str) -> Result<Duration, Fault> {
    let wrong = |fix: String| Err(Fault { message: format!("{text:?} is not a duration"), fix });
    if text.parse::<f64>().is_ok_and(|number| number >= 0.0) {
        return fault(
            format!("{text} has no unit"),
            format!("write {text}s, if seconds are meant (units: ms, s, m, h, d)"),
        );
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    if text.is_empty() {
        return wrong(TIME_FIX.to_owned());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit_ms = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            "" => return wrong(TIME_FIX.to_owned()),
            other => {
                let near = match other.to_lowercase().as_str() {
                    "sec" | "secs" | "second" | "seconds" => "s",
                    "min" | "mins" | "minute" | "minutes" => "m",
                    "hour" | "hours" | "hr" | "hrs" => "h",
                    "day" | "days" => "d",
                    "msec" | "millis" | "milliseconds" => "ms",
                    _ => return wrong(TIME_FIX.to_owned()),
                };
                return wrong(format!("write {number}{near} (units: ms, s, m, h, d)"));
            }
        };
        let Ok(number) = number.parse::<f64>() else { return wrong(TIME_FIX.to_owned()) };
        let ms = number * unit_ms;
        if ms > TIME_MAX.as_millis() as f64 || total > TIME_MAX {
            return fault(format!("{text} is longer than a year"), TIME_FIX);
        }
        if (ms - ms.round()).abs() > 1e-6 {
            return fault(format!("{text} is finer than a millisecond"), TIME_FIX);
        }
        total += Duration::from_millis(ms.round() as u64);
        rest = tail;
    }
    if total > TIME_MAX { fault(format!("{text} is longer than a year"), TIME_FIX) } else { Ok(total) }
}

/// `50%`, or 50: a share from 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Percent(pub(super) u8);

impl Scalar for Percent {
    const KIND: &'static str = "percent";
    const WHAT: &'static str = "a share, such as 50%";
    const PATTERN: &'static str = "^(100|[1-9][0-9]?) *%?$";
    const EXAMPLES: &'static [&'static str] = &["50%"];
    const TYPES: &'static [&'static str] = &["string", "integer"];
    fn parse(text: &str) -> Result<Self, Fault> {
        let number = text.strip_suffix('%').unwrap_or(text).trim_end();
        match whole::<u8>(number) {
            Some(percent @ 1..=100) => Ok(Self(percent)),
            _ => match number.parse::<f64>() {
                Ok(share) if share > 0.0 && share < 1.0 && !text.ends_with('%') => fault(
                    format!("{text} is not a share in percent"),
                    format!("write {}%", (share * 100.0).round()),
                ),
                Ok(_) => fault(
                    format!("{text} is not a share from 1% to 100%"),
                    "write a whole number, for example 50%",
                ),
                Err(_) => fault(format!("{text:?} is not a share in percent"), "write for example 50%"),
            },
        }
    }
}

/// A time of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Weekly(pub(super) Window);

impl Scalar for Weekly {
    const KIND: &'static str = "weekly";
    const WHAT: &'static str = "a time of the week in UTC, such as mon-fri 08:00-18:00";
    const PATTERN: &'static str = "^[a-z, -]+ [0-9]{2}:[0-9]{2} *- *[0-9]{2}:[0-9]{2}$";
    const EXAMPLES: &'static [&'static str] =
        &["mon-fri 08:00-18:00", "sat,sun 00:00-24:00", "sun 22:00-02:00"];
    fn parse(text: &str) -> Result<Self, Fault> {
        let fix = || "write for example mon-fri 08:00-18:00".to_owned();
        Window::parse(text).map(Self).map_err(|message| Fault { message, fix: fix() })
    }
}

/// Seconds, as a number or a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ttl(pub(super) u32);

impl Scalar for Ttl {
    const KIND: &'static str = "ttl";
    const WHAT: &'static str = "a TTL in seconds, such as 30 or 30s";
    const PATTERN: &'static str = r"^([0-9]+|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+)$";
    const EXAMPLES: &'static [&'static str] = &["30s", "5m"];
    const TYPES: &'static [&'static str] = &["string", "integer"];
    fn parse(text: &str) -> Result<Self, Fault> {
        const WEEK_S: u64 = 7 * 86_400;
        let seconds = match whole::<u64>(text) {
            Some(seconds) => seconds,
            None => {
                let time = duration(text).map_err(|fault| Fault {
                    message: format!("{text:?} is not a TTL"),
                    fix: if text.parse::<f64>().is_ok() {
                        "write whole seconds, for example 5".to_owned()
                    } else {
                        fault.fix
                    },
                })?;
                if time.subsec_millis() != 0 {
                    return fault(
                        format!("a TTL has whole seconds, {text} has not"),
                        "write for example 5 or 30s",
                    );
                }
                time.as_secs()
            }
        };
        match u32::try_from(seconds) {
            Ok(seconds) if u64::from(seconds) <= WEEK_S => Ok(Self(seconds)),
            _ => fault(format!("a TTL of {text} is longer than a week"), "write for example 5 or 30s"),
        }
    }
}

/// The name of a region: it appears in certificates, paths and commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RegionWord(pub(super) String);

impl Scalar for RegionWord {
    const KIND: &'static str = "region-name";
    const WHAT: &'static str = "the name of a region, such as eu-west-1";
    const PATTERN: &'static str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
    const EXAMPLES: &'static [&'static str] = &["eu-west-1"];
    fn parse(text: &str) -> Result<Self, Fault> {
        word(text, false, "a region").map(Self)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceWord(pub(super) String);

impl Scalar for ServiceWord {
    const KIND: &'static str = "service-name";
    const WHAT: &'static str = "the name of a service, such as app";
    const PATTERN: &'static str = "^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$";
    const EXAMPLES: &'static [&'static str] = &["app"];
    fn parse(text: &str) -> Result<Self, Fault> {
        word(text, true, "a service").map(Self)
    }
}

fn word(text: &str, underscore: bool, of: &str) -> Result<String, Fault> {
    let inner =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || (underscore && c == '_');
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let sound = (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && text.starts_with(edge)
        && text.ends_with(edge);
    if sound {
        return Ok(text.to_owned());
    }
    let mapped: String =
        text.to_lowercase().chars().take(63).map(|c| if inner(c) { c } else { '-' }).collect();
    let better = mapped.trim_matches(['-', '_']);
    fault(
        format!("{text:?} cannot be the name of {of}: lower-case letters, digits and hyphens, at most 63"),
        if better.is_empty() { "write for example eu-west-1".to_owned() } else { format!("write {better}") },
    )
}

/// `200`, `200-399` or `2xx`, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusRange(pub(super) u16, pub(super) u16);

impl Scalar for StatusRange {
    const KIND: &'static str = "status-range";
    const WHAT: &'static str = "an HTTP status or a range, such as 200 or 200-399";
    const PATTERN: &'static str = "^[1-5]([0-9]{2}(-[1-5][0-9]{2})?|xx)$";
    const EXAMPLES: &'static [&'static str] = &["200-399", "2xx"];
    const TYPES: &'static [&'static str] = &["string", "integer"];
    fn parse(text: &str) -> Result<Self, Fault> {
        let status = |text: &str| whole::<u16>(text).filter(|status| (100..600).contains(status));
        let range = match (text.split_once('-'), text.strip_suffix("xx")) {
            (Some((from, to)), _) => status(from).zip(status(to)),
            (None, Some(class)) => {
                whole::<u16>(class).filter(|c| (1..6).contains(c)).map(|c| (c * 100, c * 100 + 99))
            }
            (None, None) => status(text).map(|status| (status, status)),
        };
        match range {
            Some((from, to)) if from <= to => Ok(Self(from, to)),
            Some((from, to)) => fault(format!("{text:?} runs backwards"), format!("write {to}-{from}")),
            None => fault(
                format!("{text:?} is not an HTTP status or a range of them"),
                "write for example 200, 2xx or 200-399",
            ),
        }
    }
}

/// A number of bytes: `16MiB`, `1GB`, or a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// The largest first of each kind, so that what is shown is short.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];
const SIZE_FIX: &str = "write for example 16MiB, 1GB or 65536";
/// More is a slip of the pen.
const SIZE_MAX: u64 = 1 << 50;

impl Scalar for Size {
    const KIND: &'static str = "size";
    const WHAT: &'static str = "a size, such as 16MiB";
    const PATTERN: &'static str = r"^[0-9]+(\.[0-9]+)?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)?$";
    const EXAMPLES: &'static [&'static str] = &["16MiB", "1GB", "65536"];
    const TYPES: &'static [&'static str] = &["string", "integer"];
    fn parse(text: &str) -> Result<Self, Fault> {
        let wrong = |fix: String| Err(Fault { message: format!("{text:?} is not a size"), fix });
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let bytes = match SIZE_UNITS.iter().find(|(known, _)| *known == unit) {
            Some((_, bytes)) => *bytes,
            None if unit.is_empty() => 1,
            None => {
                // `16 mb` and `16M`: the unit that was meant, in the spelling that is taken.
                let folded = unit.trim().to_ascii_lowercase();
                let near = SIZE_UNITS
                    .iter()
                    .find(|(known, _)| known.to_ascii_lowercase().trim_end_matches(['i', 'b']) == folded)
                    .or_else(|| SIZE_UNITS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&folded)));
                return match near.filter(|_| number.parse::<f64>().is_ok()) {
                    Some((near, _)) => {
                        wrong(format!("write {number}{near} (units: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)"))
                    }
                    None => wrong(SIZE_FIX.to_owned()),
                };
            }
        };
        let Ok(number) = number.parse::<f64>() else { return wrong(SIZE_FIX.to_owned()) };
        let size = number * bytes as f64;
        if size > SIZE_MAX as f64 {
            fault(format!("{text} is more than 1024TiB"), SIZE_FIX)
        } else if size.fract() != 0.0 {
            fault(format!("{text} is no whole number of bytes"), SIZE_FIX)
        } else {
            Ok(Self(size as u64)) // exact: below 2^53
        }
    }
}

/// Never rounded: what is printed can be written into `regions.yml` again.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, bytes): &&(&str, u64)| *bytes > 1 && self.0 > 0 && self.0.is_multiple_of(*bytes);
        match SIZE_UNITS.iter().find(fits) {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

/// The value of a setting of PostgreSQL, which knows itself what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting(pub(super) String);

impl Scalar for Setting {
    const KIND: &'static str = "setting";
    const WHAT: &'static str = "the value of a setting, such as 1GB";
    const PATTERN: &'static str = "^[^\\r\\n]*$";
    const EXAMPLES: &'static [&'static str] = &["1GB", "on"];
    const TYPES: &'static [&'static str] = &["string", "integer", "number", "boolean"];
    fn parse(text: &str) -> Result<Self, Fault> {
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Result<u128, String> {
        Time::parse(text).map(|time| time.0.as_millis()).map_err(|fault| fault.fix)
    }

    #[test]
    fn durations() {
        for (text, ms) in [
            ("500ms", 500),
            ("30s", 30_000),
            ("1.5s", 1_500),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(time(text), Ok(ms), "{text}");
        }
        for (text, fix) in [
            ("30", "write 30s, if seconds are meant (units: ms, s, m, h, d)"),
            ("30sec", "write 30s (units: ms, s, m, h, d)"),
            ("5 minutes", TIME_FIX),
            ("-5s", TIME_FIX),
            ("", TIME_FIX),
            ("s", TIME_FIX),
            ("1.2.3s", TIME_FIX),
            ("0s", "write for example 500ms or 30s"),
            ("1.0001ms", TIME_FIX),
            ("99999999999999999999d", TIME_FIX),
            ("infs", TIME_FIX),
        ] {
            assert_eq!(time(text), Err(fix.to_owned()), "{text}");
        }
        assert_eq!(TimeOrZero::parse("0s"), Ok(TimeOrZero(Duration::ZERO)));
    }

    #[test]
    fn shares() {
        assert_eq!(Percent::parse("50%"), Ok(Percent(50)));
        assert_eq!(Percent::parse("50"), Ok(Percent(50)));
        assert_eq!(Percent::parse("0.5").unwrap_err().fix, "write 50%");
        for wrong in ["0%", "101%", "-1", "half", "", "50%%", "1e2"] {
            assert!(Percent::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ttls() {
        assert_eq!(Ttl::parse("5"), Ok(Ttl(5)));
        assert_eq!(Ttl::parse("1m"), Ok(Ttl(60)));
        for wrong in ["1.5", "500ms", "-1", "8d", "99999999999999999999", "x"] {
            assert!(Ttl::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_size_that_is_shown_can_be_written(bytes in 0..=SIZE_MAX, unit in 0..SIZE_UNITS.len()) {
            for bytes in [bytes, bytes / SIZE_UNITS[unit].1 * SIZE_UNITS[unit].1] {
                let shown = Size(bytes).to_string();
                proptest::prop_assert_eq!(Size::parse(&shown), Ok(Size(bytes)), "{}", shown);
            }
        }

        #[test]
        fn no_text_makes_a_size_panic(text in "[0-9.]{0,30}[a-zA-Zµ ]{0,4}[0-9]{0,3}") {
            if let Ok(size) = Size::parse(&text) {
                proptest::prop_assert!(size.0 <= SIZE_MAX);
            }
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("0B", 0),
            ("65536", 65_536),
            ("16MiB", 16 << 20),
            ("1GB", 1_000_000_000),
            ("512kB", 512_000),
            ("1.5KiB", 1_536),
            ("1024TiB", 1 << 50),
        ] {
            assert_eq!(Size::parse(text), Ok(Size(bytes)), "{text}");
            let shown = Size(bytes).to_string();
            assert_eq!(Size::parse(&shown), Ok(Size(bytes)), "{text} is shown as {shown}");
        }
        const UNITS: &str = "(units: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)";
        for (text, message, fix) in [
            ("16M", "\"16M\" is not a size", format!("write 16MiB {UNITS}")),
            ("16 mb", "\"16 mb\" is not a size", format!("write 16MB {UNITS}")),
            ("16mib", "\"16mib\" is not a size", format!("write 16MiB {UNITS}")),
            ("16KB", "\"16KB\" is not a size", format!("write 16kB {UNITS}")),
            ("16 MiB", "\"16 MiB\" is not a size", format!("write 16MiB {UNITS}")),
            ("16XB", "\"16XB\" is not a size", SIZE_FIX.to_owned()),
            ("-1", "\"-1\" is not a size", SIZE_FIX.to_owned()),
            ("-16MiB", "\"-16MiB\" is not a size", SIZE_FIX.to_owned()),
            ("", "\"\" is not a size", SIZE_FIX.to_owned()),
            ("MiB", "\"MiB\" is not a size", SIZE_FIX.to_owned()),
            ("1.2.3MB", "\"1.2.3MB\" is not a size", SIZE_FIX.to_owned()),
            ("1e9", "\"1e9\" is not a size", SIZE_FIX.to_owned()),
            ("inf", "\"inf\" is not a size", SIZE_FIX.to_owned()),
            ("1MiB2MiB", "\"1MiB2MiB\" is not a size", SIZE_FIX.to_owned()),
            ("0.3B", "0.3B is no whole number of bytes", SIZE_FIX.to_owned()),
            ("1025TiB", "1025TiB is more than 1024TiB", SIZE_FIX.to_owned()),
            (
                "99999999999999999999999999",
                "99999999999999999999999999 is more than 1024TiB",
                SIZE_FIX.to_owned(),
            ),
        ] {
            assert_eq!(Size::parse(text), Err(Fault { message: message.to_owned(), fix }), "{text}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(RegionWord::parse("EU West").unwrap_err().fix, "write eu-west");
        assert!(ServiceWord::parse("my_app").is_ok());
        assert!(RegionWord::parse("ä").is_err());
    }

    #[test]
    fn statuses() {
        assert_eq!(StatusRange::parse("200"), Ok(StatusRange(200, 200)));
        assert_eq!(StatusRange::parse("200-399"), Ok(StatusRange(200, 399)));
        assert_eq!(StatusRange::parse("2xx"), Ok(StatusRange(200, 299)));
        assert_eq!(StatusRange::parse("399-200").unwrap_err().fix, "write 200-399");
        for wrong in ["20", "600", "ok", "9xx", "200-", ""] {
            assert!(StatusRange::parse(wrong).is_err(), "{wrong}");
        }
    }
}
