//! Tables for people, JSON and YAML for programs.

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

/// Time of day in UTC with milliseconds, and the date before it.
pub fn timestamp(at: Time) -> String {
    let (days, ms) = (at.0 / 86_400_000, at.0 % 86_400_000);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second, milli) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Days since the Unix epoch to a date of the Gregorian calendar (H. Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms").
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339() {
        assert_eq!(timestamp(Time(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(Time(951_827_696_789)), "2000-02-29T12:34:56.789Z");
        assert_eq!(timestamp(Time(4_102_444_799_999)), "2099-12-31T23:59:59.999Z");
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["A", "LONG"]);
        table.row(["é".into(), "x".into()]);
        table.row(["wide".into(), String::new()]);
        assert_eq!(table.render(), "A     LONG\né     x\nwide\n");
    }
}
