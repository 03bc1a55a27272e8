//! A mistake as it is shown: where, what, the line itself, and what to write instead.

use std::fmt;

use decision::config::check::Severity;
use serde::Serialize;

use super::tree::At;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub severity: Severity,
    pub file: String,
    /// From 1; 0: the file could not be read at all.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is marked, in characters, never beyond the line.
    pub length: usize,
    /// The line itself.
    pub source: String,
    /// Such as `failover_strategy.detection_timeout`; empty: the file as a whole.
    pub place: String,
    pub message: String,
    pub fix: String,
    /// Other lines that take part in it.
    pub related: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub line: usize,
    pub source: String,
}

/// All that is wrong with a file, warnings too, in the order of its lines.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigErrors {
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigErrors {}

impl ConfigErrors {
    pub fn to_json(&self) -> String {
        to_json(&self.problems)
    }
}

/// For editors and scripts: an array, one object a problem.
pub fn to_json(problems: &[Problem]) -> String {
    serde_json::to_string_pretty(problems).expect("strings and numbers always serialise")
}

/// For terminals and logs, without colour.
pub fn to_text(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(to_text(&self.problems).trim_end())?;
        let errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        if errors > 1 { write!(f, "\n\n{errors} errors; the configuration was not loaded") } else { Ok(()) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let file = printable(&self.file);
        if self.line == 0 {
            write!(f, "{file}: {severity}: {}", printable(&self.message))?;
            return write!(f, "\n   = help: {}", printable(&self.fix));
        }
        write!(f, "{file}:{}:{}: {severity}: {}", self.line, self.column, printable(&self.message))?;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let (shown, lead) = window(&self.source, self.column);
        write!(f, "\n{margin} |\n{number} | {}", printable(&shown))?;
        write!(f, "\n{margin} | {}{}", " ".repeat(lead), "^".repeat(self.length.clamp(1, WIDTH_MAX - lead)))?;
        for line in &self.related {
            let (shown, _) = window(line.source.trim(), 1);
            write!(f, "\n{margin} = see line {}: {}", line.line, printable(&shown))?;
        }
        if !self.fix.is_empty() {
            write!(f, "\n{margin} = help: {}", printable(&self.fix))?;
        }
        Ok(())
    }
}

const WIDTH_MAX: usize = 160;

/// The part of a long line around a column, and how far into it the column is.
fn window(line: &str, column: usize) -> (String, usize) {
    let length = line.chars().count();
    let column = (column - 1).min(length);
    if length <= WIDTH_MAX {
        return (line.to_owned(), column.min(WIDTH_MAX - 1));
    }
    let from = column.saturating_sub(WIDTH_MAX / 2);
    (line.chars().skip(from).take(WIDTH_MAX).collect(), column - from)
}

/// Beyond, a line is not kept: what is marked there is told by its column.
const SOURCE_MAX: usize = 16 * 1024;

impl Problem {
    /// Puts stars for what stands there.
    pub(super) fn hide(&mut self, secrets: &[At]) {
        for at in secrets.iter().filter(|at| at.line == self.line) {
            let hidden = at.column - 1..at.column - 1 + at.length;
            let shown = self.source.chars().enumerate();
            self.source = shown.map(|(n, c)| if hidden.contains(&n) { '*' } else { c }).collect();
        }
    }
}

/// A password in the file is an error that ends in logs: `//user:secret@` is shown as `//***********@`, and
/// `password: secret` as `password: ******`.
pub(super) fn mask(line: &str) -> String {
    mask_values(&mask_addresses(line))
}

/// Of what should name a variable only what cannot: there somebody has put the secret itself.
fn mask_values(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) =
        ["password", "secret"].iter().filter_map(|word| Some(rest.find(word)? + word.len())).min()
    {
        let (before, after) = rest.split_at(at);
        masked += before;
        rest = after;
        let key = after.strip_prefix("_env").unwrap_or(after);
        let key = key.trim_start_matches(['"', '\'', ' ']);
        let Some(value) = key.strip_prefix([':', '=']).map(str::trim_start) else { continue };
        let start = after.len() - value.len();
        let quote = value.chars().next().filter(|c| ['"', '\''].contains(c));
        let end = match quote {
            Some(quote) => value[1..].find(quote).map(|at| at + 2),
            None => value.find(|c: char| c.is_whitespace() || [',', '}', ']', '"', '\''].contains(&c)),
        };
        let value = &value[..end.unwrap_or(value.len())];
        let bare = value.trim_matches(['"', '\'']);
        let variable = bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if after.starts_with("_env") && variable {
            continue;
        }
        masked += &after[..start];
        masked.extend(std::iter::repeat_n('*', value.chars().count()));
        rest = &after[start + value.len()..];
    }
    masked + rest
}

fn mask_addresses(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("//") {
        let (before, after) = rest.split_at(at + 2);
        masked += before;
        let end = after.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(after.len());
        let secret = after[..end].rfind('@').unwrap_or(0);
        masked.extend(std::iter::repeat_n('*', after[..secret].chars().count()));
        rest = &after[secret..];
    }
    masked + rest
}

/// Control characters would move the caret, or the reader's terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { if c == '\t' { ' ' } else { '\u{fffd}' } } else { c }).collect()
}

/// Makes problems of places in one text.
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) lines: Vec<&'a str>,
}

impl<'a> Source<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, lines: text.lines().collect() }
    }

    pub(super) fn line(&self, line: usize) -> &'a str {
        self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub(super) fn problem(
        &self,
        severity: Severity,
        at: At,
        place: impl fmt::Display,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Problem {
        let source = self.line(at.line);
        let rest = source.trim_end().chars().count().saturating_sub(at.column - 1);
        Problem {
            severity,
            file: self.name.to_owned(),
            line: at.line,
            column: at.column,
            length: at.length.min(rest).max(1),
            source: mask(&source.chars().take(SOURCE_MAX).collect::<String>()),
            place: place.to_string(),
            message: message.into(),
            fix: fix.into(),
            related: Vec::new(),
        }
    }
}

/// Of a file that could not be read.
pub(super) fn unread(file: &str, message: String, fix: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        file: file.to_owned(),
        line: 0,
        column: 0,
        length: 0,
        source: String::new(),
        place: String::new(),
        message,
        fix: fix.to_owned(),
        related: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn secrets_are_not_repeated() {
        for (line, shown) in [
            ("url: http://me:hunter2@a.example/x", "url: http://**********@a.example/x"),
            ("{user: a, password: hunter2}", "{user: a, password: *******}"),
            ("password: \"hunter 2\", b: c", "password: **********, b: c"),
            ("\"password\" : 'ä', b: c", "\"password\" : ***, b: c"),
            (
                "primary_conninfo: host=a password=hunter2 port=1",
                "primary_conninfo: host=a password=******* port=1",
            ),
            ("secret: abc # it", "secret: *** # it"),
            ("password_env: hunter2!", "password_env: ********"),
            ("password_env: PASSWORD, secret_env: 'KEY'", "password_env: PASSWORD, secret_env: 'KEY'"),
            ("password_file: /etc/password, secret_file: a", "password_file: /etc/password, secret_file: a"),
            ("password:", "password:"),
            ("password: \"", "password: *"),
            ("password password: a", "password password: *"),
        ] {
            assert_eq!(mask(line), shown);
        }
    }
}
