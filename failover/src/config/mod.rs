//! `regions.yml`: read, checked, filled with defaults, turned into `decision`'s [`Config`].
//!
//! Two rounds, each reporting all it finds: first the shape (syntax, keys, types, words), then
//! the meaning (names that do not exist, contradictions), which needs a file of the right shape.

mod address;
mod collection;
mod convert;
mod diff;
mod model;
mod problem;
mod retarget;
mod scalar;
mod schema;
mod shape;
mod show;
mod tree;
mod written;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use decision::config::check::{self, Finding, Severity};
use decision::config::place::Place;
use decision::config::{Config, Profile};
use serde_saphyr::options::MergeKeyPolicy;

use convert::Converted;
use problem::Source;
use tree::{At, Node};

pub use diff::{Difference, diff};
pub use problem::{ConfigErrors, Line, Problem, to_json, to_text};
pub use retarget::retarget;
pub use schema::schema_json;
pub use show::show;

#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// What the configuration seems to promise and cannot keep; show them, then go on.
    pub warnings: Vec<Problem>,
}

/// Reads a file of at most 1 MiB. On an error nothing was changed anywhere.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    load_with(path, None)
}

/// As [`load`]; a profile given here stands in for the file's. Timings that the file sets itself
/// stay as they are.
pub fn load_with(path: &Path, profile: Option<Profile>) -> Result<Loaded, ConfigErrors> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        // One byte more than allowed tells a file that is too large from one that just fits.
        file.take(tree::SIZE_MAX as u64 + 1).read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => parse_bytes_with(&name, &bytes, profile),
        Err(error) => {
            let fix = "name a readable file; a sample is regions.yml at the root of the repository";
            Err(ConfigErrors {
                problems: vec![problem::unread(&name, format!("cannot be read: {error}"), fix)],
            })
        }
    }
}

/// As [`parse`], of bytes that may not be UTF-8.
pub fn parse_bytes(name: &str, bytes: &[u8]) -> Result<Loaded, ConfigErrors> {
    parse_bytes_with(name, bytes, None)
}

fn parse_bytes_with(name: &str, bytes: &[u8], profile: Option<Profile>) -> Result<Loaded, ConfigErrors> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_with(name, text, profile),
        Err(error) => {
            let sound = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = sound.matches('\n').count() + 1;
            let before = sound.rsplit('\n').next().unwrap_or_default();
            let rest = &bytes[error.valid_up_to()..];
            let rest =
                String::from_utf8_lossy(&rest[..rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())]);
            let whole = format!("{before}{rest}");
            let at = At { line: 1, column: before.chars().count() + 1, length: 1 };
            let mut problem = Source::new(name, &whole).problem(
                Severity::Error,
                at,
                "",
                "this is not UTF-8",
                "save the file as UTF-8 (from Latin-1: iconv -f latin1 -t utf-8)",
            );
            problem.line = line;
            Err(ConfigErrors { problems: vec![problem] })
        }
    }
}

/// Parses the text of a `regions.yml`; `name` is what errors call it.
pub fn parse(name: &str, text: &str) -> Result<Loaded, ConfigErrors> {
    parse_with(name, text, None)
}

fn parse_with(name: &str, text: &str, profile: Option<Profile>) -> Result<Loaded, ConfigErrors> {
    let source = Source::new(name, text);
    if text.len() > tree::SIZE_MAX {
        let message = format!("the file is larger than {} KiB", tree::SIZE_MAX / 1024);
        let fix = "split the estate into several configurations";
        let at = At { length: 1, ..At::START };
        return Err(ConfigErrors { problems: vec![source.problem(Severity::Error, at, "", message, fix)] });
    }
    let root = tree::read(text).map_err(|error| syntax_error(&source, &error))?;
    shape_errors(&source, &root)?;
    let file = serde_saphyr::from_str_with_options(text, tree::options(MergeKeyPolicy::Merge))
        .map_err(|error| syntax_error(&source, &error))?;
    meaning(&source, &root, convert::convert(file, profile))
}

fn syntax_error(source: &Source<'_>, error: &serde_saphyr::Error) -> ConfigErrors {
    use serde_saphyr::Error;
    let at = error.location().map_or(At::START, At::new);
    let said = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    // The location is said in front; the formatter says it at the end once more.
    let said = said.lines().next().unwrap_or_default();
    let said = said.split(" at line ").next().unwrap_or(said).trim_end_matches([',', ' ']);
    let unfolds = said.contains("too complex") || said.contains("limit exceeded");
    let (message, fix) = match error.without_snippet() {
        Error::MultipleDocuments { .. } => {
            ("a second document begins here", "keep one document: remove the `---` before it")
        }
        Error::UnknownAnchor { .. } => (
            "this alias (*) has no anchor (&)",
            "define it first: `key: &name value`; or put the * into quotes",
        ),
        _ if unfolds => (
            "here the file nests deeper, or unfolds to more, than a configuration can",
            "nest less deeply; use fewer anchors (&), aliases (*) and merges (<<)",
        ),
        _ => (said, syntax_hint(source, at, said)),
    };
    ConfigErrors { problems: vec![source.problem(Severity::Error, at, "", message, fix)] }
}

/// The usual causes of YAML that does not parse.
fn syntax_hint(source: &Source<'_>, at: At, said: &str) -> &'static str {
    if said.contains("unexpected character") {
        return "remove the character, or write it as an escape between double quotes, such as \"\\t\"";
    }
    let here = source.line(at.line);
    let before = source.line(at.line.saturating_sub(1).max(1));
    if [here, before].iter().any(|line| line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t')) {
        return "indent with spaces: YAML allows no tabs there";
    }
    if [here, before]
        .iter()
        .any(|line| line.matches('"').count() % 2 == 1 || line.matches('\'').count() % 2 == 1)
    {
        return "close the quotation mark";
    }
    if [here, before]
        .iter()
        .any(|line| line.contains('[') && !line.contains(']') || line.contains('{') && !line.contains('}'))
    {
        return "close the bracket";
    }
    if here.matches(": ").count() > 1 {
        return "one `key: value` a line; put text that contains `: ` into quotes";
    }
    if before.trim_end().ends_with(':') || here.trim_start().starts_with('-') {
        return "check the indentation: what belongs together starts in the same column";
    }
    "write `key: value`, and what belongs together in the same column"
}

fn shape_errors(source: &Source<'_>, root: &Node) -> Result<(), ConfigErrors> {
    let flaws = shape::check(schema::schema(), root);
    let secrets: Vec<At> = flaws.iter().filter(|flaw| flaw.is_secret).map(|flaw| flaw.at).collect();
    let mut problems: Vec<Problem> = flaws
        .into_iter()
        .map(|flaw| {
            let mut problem = source.problem(Severity::Error, flaw.at, &flaw.place, flaw.message, flaw.fix);
            problem.related = flaw.related.map(|at| line_of(source, at)).into_iter().collect();
            problem
        })
        .collect();
    // Every problem of the line shows it.
    problems.iter_mut().for_each(|problem| problem.hide(&secrets));
    sort(&mut problems);
    if problems.is_empty() { Ok(()) } else { Err(ConfigErrors { problems }) }
}

fn meaning(source: &Source<'_>, root: &Node, converted: Converted) -> Result<Loaded, ConfigErrors> {
    let mut findings = converted.findings;
    findings.extend(check::check(&converted.config));
    // Errors first, in case there are more than would be read.
    findings.sort_by_key(|finding| finding.severity);
    let mut problems: Vec<Problem> = Vec::new();
    for finding in findings {
        if problems.len() >= shape::FLAWS_MAX {
            break;
        }
        let problem = locate(source, root, &converted.origins, finding);
        let same = |other: &Problem| {
            (other.line, other.column, &other.message) == (problem.line, problem.column, &problem.message)
        };
        if !problems.iter().any(same) {
            problems.push(problem);
        }
    }
    sort(&mut problems);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(ConfigErrors { problems });
    }
    Ok(Loaded { config: converted.config, warnings: problems })
}

/// From a place in the configuration to the line it came from; where nothing is written there,
/// because a default holds, to the line that takes part in it.
fn locate(source: &Source<'_>, root: &Node, origins: &convert::Origins, finding: Finding) -> Problem {
    let names = |key: &str| origins.names_of(key);
    let find = |place: &Place, of_key: bool| {
        let ways = origins.places_of(place);
        let exact = ways.iter().map(|way| root.find(way, of_key, &names)).find(|(_, exact)| *exact);
        exact.unwrap_or_else(|| root.find(ways.first().unwrap_or(place), of_key, &names))
    };
    let (mut at, exact) = find(&finding.at, finding.of_key);
    let mut related: Vec<At> = Vec::new();
    for (other, exact) in finding.related.iter().map(|place| find(place, false)) {
        if exact && !related.iter().any(|at| at.line == other.line) {
            related.push(other);
        }
    }
    if !exact && !related.is_empty() {
        at = related.remove(0);
    }
    related.retain(|other| other.line != at.line);
    let mut problem = source.problem(finding.severity, at, &finding.at, finding.message, finding.fix);
    problem.related = related.into_iter().map(|at| line_of(source, at)).collect();
    problem
}

fn line_of(source: &Source<'_>, at: At) -> Line {
    Line {
        line: at.line,
        source: problem::mask(&source.line(at.line).trim().chars().take(1024).collect::<String>()),
    }
}

fn sort(problems: &mut [Problem]) {
    problems.sort_by_key(|problem| (problem.line, problem.column, problem.severity));
}
