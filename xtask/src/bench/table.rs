//! A figure, what it is held against, and how both are shown.

use serde_json::{Value, json};

pub struct Row {
    pub what: String,
    pub unit: &'static str,
    pub ours: f64,
    /// Of all runs, where that matters.
    pub worst: Option<f64>,
    pub peer: Option<Peer>,
    pub target: Option<Target>,
    pub note: String,
}

pub struct Peer {
    pub name: &'static str,
    pub value: f64,
    /// Ours by theirs: the median of the rounds' ratios.
    pub ratio: f64,
}

#[derive(Clone, Copy)]
pub enum Target {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    AtMost(f64),
    /// In the median, and ever.
    AtMostAndWorst(f64, f64),
}

impl Row {
    /// Of one figure.
    pub fn alone(what: impl Into<String>, unit: &'static str, ours: f64) -> Row {
        Row { what: what.into(), unit, ours, worst: None, peer: None, target: None, note: String::new() }
    }

    /// Of rounds in which ours and theirs were measured one after the other.
    pub fn beside(
        what: impl Into<String>,
        unit: &'static str,
        ours: &[f64],
        name: &'static str,
        theirs: &[f64],
    ) -> Row {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        let peer = Peer { name, value: median(theirs), ratio: median(&ratios) };
        Row { peer: Some(peer), ..Row::alone(what, unit, median(ours)) }
    }

    pub fn worst(self, worst: f64) -> Row {
        Row { worst: Some(worst), ..self }
    }

    pub fn target(self, target: Target) -> Row {
        Row { target: Some(target), ..self }
    }

    pub fn note(self, note: impl Into<String>) -> Row {
        Row { note: note.into(), ..self }
    }

    /// None without a target. What is no number has reached nothing.
    pub fn reached(&self) -> Option<bool> {
        let ratio = self.peer.as_ref().map_or(f64::NAN, |peer| peer.ratio);
        Some(match self.target? {
            Target::RatioAtLeast(bound) => ratio >= bound,
            Target::RatioAtMost(bound) => ratio <= bound,
            Target::AtMost(bound) => self.ours <= bound,
            Target::AtMostAndWorst(median, worst) => {
                self.ours <= median && self.worst.is_some_and(|most| most <= worst)
            }
        })
    }

    pub fn json(&self, part: &str) -> Value {
        json!({
            "part": part, "what": self.what, "unit": self.unit, "ours": self.ours, "worst": self.worst,
            "peer": self.peer.as_ref().map(|peer| peer.name),
            "theirs": self.peer.as_ref().map(|peer| peer.value),
            "ratio": self.peer.as_ref().map(|peer| peer.ratio),
            "target": self.target.map(Target::text), "reached": self.reached(), "note": self.note,
        })
    }

    fn cells(&self) -> [String; 7] {
        let peer = self.peer.as_ref();
        [
            format!("{}, {}", self.what, self.unit),
            self.worst
                .map_or_else(|| short(self.ours), |worst| format!("{} ({})", short(self.ours), short(worst))),
            peer.map_or_else(|| "-".into(), |peer| format!("{} {}", peer.name, short(peer.value))),
            peer.map_or_else(|| "-".into(), |peer| format!("{:.2}", peer.ratio)),
            self.target.map_or_else(|| "-".into(), Target::text),
            self.reached().map_or("-", |reached| if reached { "yes" } else { "NO" }).into(),
            self.note.clone(),
        ]
    }
}

impl Target {
    fn text(self) -> String {
        match self {
            Target::RatioAtLeast(bound) => format!("ratio >= {bound}"),
            Target::RatioAtMost(bound) => format!("ratio <= {bound}"),
            Target::AtMost(bound) => format!("<= {bound}"),
            Target::AtMostAndWorst(median, worst) => format!("<= {median} ({worst})"),
        }
    }
}

pub fn render(rows: &[Row]) -> String {
    let heads = ["WHAT", "OURS", "PEER", "RATIO", "TARGET", "REACHED", "NOTE"].map(str::to_owned);
    let lines: Vec<[String; 7]> = std::iter::once(heads).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Of an even number, the mean of the two in the middle; of none, no number.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Target, median};

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_ratios() {
        // The medians alone would say 2.0; a round in which the machine was slow counts once.
        let row = Row::beside("x", "1/s", &[20.0, 1.0, 40.0], "peer", &[10.0, 2.0, 10.0]);
        let peer = row.peer.as_ref().expect("one is given");
        assert_eq!((row.ours, peer.value, peer.ratio), (20.0, 10.0, 2.0));
        let row = Row::beside("x", "1/s", &[20.0, 30.0, 40.0], "peer", &[10.0, 30.0, 10.0]);
        assert_eq!(row.peer.as_ref().map(|peer| peer.ratio), Some(2.0));
        assert_eq!((median(&[3.0, 1.0]), median(&[5.0, 1.0, 2.0])), (2.0, 2.0));
    }

    #[test]
    fn a_target_is_reached_at_its_bound_and_never_by_what_is_no_number() {
        let row = |ours: f64, target| Row::beside("x", "s", &[ours], "peer", &[1.0]).target(target);
        assert_eq!(row(1.7, Target::RatioAtLeast(1.7)).reached(), Some(true));
        assert_eq!(row(1.69, Target::RatioAtLeast(1.7)).reached(), Some(false));
        assert_eq!(row(1.01, Target::RatioAtMost(1.0)).reached(), Some(false));
        assert_eq!(row(6.0, Target::AtMost(6.0)).reached(), Some(true));
        assert_eq!(row(f64::NAN, Target::AtMost(6.0)).reached(), Some(false));
        assert_eq!(row(f64::NAN, Target::RatioAtMost(1.0)).reached(), Some(false));
        assert_eq!(Row::alone("x", "s", 1.0).reached(), None);
        let both = |worst| Row::alone("x", "s", 1.0).worst(worst).target(Target::AtMostAndWorst(1.0, 2.0));
        assert_eq!((both(2.0).reached(), both(2.1).reached()), (Some(true), Some(false)));
    }
}
