//! Tables for people, JSON and YAML for programs.

use std::time::Duration;

use clap::ValueEnum;
use decision::time::Time;
use serde::Serialize;

use super::exit::Failure;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    Json,
    Yaml,
}

/// Prints `document` for programs, or `text` for people.
pub fn print<T: Serialize>(
    format: Format,
    document: &T,
    text: impl FnOnce(bool) -> String,
) -> Result<(), Failure> {
    print!("{}", render(format, document, text)?);
    Ok(())
}

pub fn render<T: Serialize>(
    format: Format,
    document: &T,
    text: impl FnOnce(bool) -> String,
) -> Result<String, Failure> {
    match format {
        Format::Table => Ok(text(false)),
        Format::Wide => Ok(text(true)),
        Format::Json => serde_json::to_string_pretty(document)
            .map(|json| json + "\n")
            .map_err(|error| Failure::error(error.to_string())),
        Format::Yaml => serde_saphyr::to_string(document).map_err(|error| Failure::error(error.to_string())),
    }
}

/// Columns as wide as their widest cell.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { rows: vec![head.map(str::to_owned).to_vec()] }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// Leaves out the columns with these heads.
    pub fn drop_columns(&mut self, heads: &[&str]) {
        let kept: Vec<bool> = self.rows[0].iter().map(|head| !heads.contains(&head.as_str())).collect();
        for row in &mut self.rows {
            let mut kept = kept.iter();
            row.retain(|_| kept.next().copied().unwrap_or(true));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    pub fn render(&self) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let line: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
                .collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// How long ago, coarsely: `3s`, `12m`, `5h`, `2d`.
pub fn age(now: Time, at: Time) -> String {
    let seconds = now.since(at).as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long, to look at: `250ms`, `3.9s`, `12m`, `5h`.
pub fn span(span: Duration) -> String {
    match span.as_millis() {
        ms @ 0..1_000 => format!("{ms}ms"),
        ms @ 1_000..120_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        ms @ 120_000..7_200_000 => format!("{}m", ms / 60_000),
        ms => format!("{}h", ms / 3_600_000),
    }
}

/// `512 B`, `4.9 KiB`, `64.0 MiB`.
pub fn bytes(bytes: u64) -> String {
    let (mut value, mut units) = (bytes as f64, ["KiB", "MiB", "GiB", "TiB"].into_iter());
    let mut unit = None;
    while value >= 1_024.0
        && let Some(next) = units.next()
    {
        (value, unit) = (value / 1_024.0, Some(next));
    }
    match unit {
        None => format!("{bytes} B"),
        Some(unit) => format!("{value:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["A", "LONG"]);
        table.row(["é".into(), "x".into()]);
        table.row(["wide".into(), String::new()]);
        assert_eq!(table.render(), "A     LONG\né     x\nwide\n");
    }
}
