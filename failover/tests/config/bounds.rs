//! Hostile or mangled input: a clear answer in bounded time and memory, never a panic.

use std::time::{Duration, Instant};

use failover::config;
use wire::host::{Random, SeededRandom};

use super::data;

#[test]
fn a_file_too_large_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.yml");
    std::fs::write(&path, format!("# {}\n", "x".repeat(2 << 20))).unwrap();
    let error = config::load(&path).unwrap_err().to_string();
    assert!(error.contains("larger than 1024 KiB"), "{error}");
    // A device without an end is read no further than the limit.
    let error = config::load(std::path::Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(error.contains("larger than 1024 KiB"), "{error}");
}

#[test]
fn what_unfolds_is_refused_soon() {
    let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 0..30 {
        let (from, to) =
            if n == 0 { ("a".to_owned(), "b0".to_owned()) } else { (format!("b{}", n - 1), format!("b{n}")) };
        laughs += &format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 10].join(", "));
    }
    let merges: String =
        (0..2_000).map(|n| format!("k{n}: &k{n} {{<<: *k{}, a{n}: 1}}\n", n.max(1) - 1)).collect();
    let deep_list = "[".repeat(200_000);
    let deep_map = "a: {".repeat(200_000);
    let deep_block: String = (0..1_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    let wide =
        format!("regions: {{{}}}\n", (0..200_000).map(|n| format!("r{n}: ")).collect::<Vec<_>>().join(", "));
    let keys =
        format!("regions:\n{}", (0..20_000).map(|n| format!("  r{n}: {{a: 1}}\n")).collect::<String>());
    let questions = "? ".repeat(100_000);
    let documents = "---\n".repeat(100_000);
    let app = "regions: {us: {services: [app]}}\nservices:\n app:\n  database:\n   instances:";
    let within: String = (0..1_900)
        .map(|n| format!("    i{n}: {{host: h, data_dir: /d{}}}\n", "/d".repeat(n % 400)))
        .collect();
    let instances = format!("{app}\n{within}");
    let settings: String = (0..15_000).map(|n| format!("     a.b.{n}: {n}\n")).collect();
    let settings = format!("{app} {{us: }}\n   settings:\n{settings}");
    for text in [
        laughs, merges, deep_list, deep_map, deep_block, wide, keys, questions, documents, instances,
        settings,
    ] {
        let start = Instant::now();
        let errors = config::parse("bomb.yml", &text).expect_err(&text[..40]);
        assert!(start.elapsed() < Duration::from_secs(20), "{:?} for {}", start.elapsed(), &text[..40]);
        let said = errors.to_string();
        assert!(said.len() < 64 * 1024, "{} bytes about {}", said.len(), &text[..40]);
    }
}

const SCRAPS: &[&str] = &[
    "\n",
    " ",
    "  ",
    "\t",
    ":",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: ",
    "\"",
    "'",
    "#",
    "|",
    ">",
    "!",
    "%",
    "? ",
    "---\n",
    "...\n",
    "null",
    "true",
    "-1",
    "0",
    "99999999999999999999",
    "1e309",
    ".nan",
    "ä",
    "\u{0}",
    "\u{feff}",
    "\r\n",
    "\u{2028}",
    "!!binary ",
    "0x",
    "regions:",
    "services:",
    "name: ",
    "dns:",
    "values:",
    "{host}",
    "s",
    "%",
];

/// A failure can be repeated by its seed alone.
fn mutate(bytes: &[u8], seed: u64) -> Vec<u8> {
    let (random, mut bytes) = (SeededRandom::new(seed), bytes.to_vec());
    let roll = |sides: usize| random.below(sides as u64) as usize;
    for _ in 0..=roll(6) {
        let at = roll(bytes.len() + 1);
        match roll(6) {
            0 => drop(bytes.drain(at..(at + roll(20)).min(bytes.len()))),
            1 => drop(bytes.splice(at..at, SCRAPS[roll(SCRAPS.len())].bytes())),
            2 if at < bytes.len() => bytes[at] = roll(256) as u8,
            3 => {
                let end = (at + roll(80)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = roll(bytes.len() + 1);
                drop(bytes.splice(to..to, copy));
            }
            4 => bytes.truncate(bytes.len() - roll(bytes.len() / 8 + 1)),
            _ => {
                // One line elsewhere.
                let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
                let line = lines.remove(roll(lines.len()));
                lines.insert(roll(lines.len() + 1), line);
                bytes = lines.join(&b'\n');
            }
        }
        if bytes.is_empty() {
            bytes.push(b'a');
        }
    }
    bytes
}

#[test]
fn no_mutation_of_a_sound_file_panics() {
    let runs = std::env::var("REGENT_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(400_u64);
    let files = ["regions.seed.yml", "good/everything.yml", "good/anchors.yml"];
    let mut refused = 0;
    for file in files {
        let sound = std::fs::read(data(file)).unwrap();
        for seed in 1..=runs {
            let mutant = mutate(&sound, seed);
            let outcome = std::panic::catch_unwind(|| match config::parse_bytes("mutant.yml", &mutant) {
                Ok(loaded) => (config::to_text(&loaded.warnings), config::show(&loaded.config), false),
                Err(errors) => (errors.to_string(), errors.to_json(), true),
            });
            let Ok((_, _, was_refused)) = outcome else {
                panic!("{file}, seed {seed}:\n{}", String::from_utf8_lossy(&mutant));
            };
            refused += u64::from(was_refused);
        }
    }
    assert!(refused > runs, "mutations that break nothing prove nothing: {refused} refused");
}
