//! The results as a table and as JSON.

use std::fmt;
use std::fs;

use farm::harness::Core;
use serde_json::{Value as Json, json};

use super::spread::Spread;

/// The target of a measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Limit {
    /// Greatest median.
    AtMost(f64),
    /// Greatest ratio to the built-in type.
    ToBuiltIn(f64),
}

/// A measurement of a subject.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) subject: &'static str,
    pub(super) unit: &'static str,
    pub(super) spread: Spread,
    /// Ratio to the provider in Go.
    pub(super) to_go: Option<f64>,
    /// Ratio to the type that is built into cores.
    pub(super) to_built_in: Option<f64>,
    pub(super) limit: Option<Limit>,
}

impl Row {
    /// Returns true if the target is met; `None` without a target.
    fn met(&self) -> Option<bool> {
        match self.limit? {
            Limit::AtMost(limit) => Some(self.spread.median <= limit),
            Limit::ToBuiltIn(limit) => Some(self.to_built_in? <= limit),
        }
    }

    fn verdict(&self) -> String {
        let limit = match self.limit {
            None => return String::new(),
            Some(Limit::AtMost(limit)) => format!("<= {} {}", short(limit), self.unit),
            Some(Limit::ToBuiltIn(limit)) => format!("<= {limit} x built-in"),
        };
        let word = if self.met() == Some(true) { "met" } else { "MISSED" };
        format!("{limit:<17} {word}{}", self.ratio().map_or_else(String::new, |ratio| format!(", {ratio:.2} of it")))
    }

    /// Returns the ratio of the measurement to its target.
    fn ratio(&self) -> Option<f64> {
        let ratio = match self.limit? {
            Limit::AtMost(limit) => self.spread.median / limit,
            Limit::ToBuiltIn(limit) => self.to_built_in? / limit,
        };
        ratio.is_finite().then_some(ratio)
    }
}

/// All rows of a run.
pub(super) struct Report {
    machine: Vec<(&'static str, String)>,
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(cores: &[Core], rows: Vec<Row>) -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or("?").to_owned();
        let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let cores: Vec<_> = cores.iter().map(Core::to_string).collect();
        let machine = vec![
            ("framework", env!("CARGO_PKG_VERSION").to_owned()),
            ("framework for Go", go_framework().unwrap_or("?").to_owned()),
            ("cores", cores.join(", ")),
            ("processors", processors.to_string()),
            ("load", load),
        ];
        Self { machine, rows }
    }

    /// Returns the number of missed targets.
    pub(super) fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.met() == Some(false)).count()
    }

    /// Returns everything as JSON.
    pub(super) fn json(&self) -> Json {
        let machine: serde_json::Map<_, _> =
            self.machine.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let rows = self.rows.iter().map(|row| {
            json!({
                "what": row.what,
                "subject": row.subject,
                "unit": row.unit,
                "least": row.spread.least,
                "median": row.spread.median,
                "greatest": row.spread.greatest,
                "count": row.spread.count,
                "to_go": row.to_go,
                "to_built_in": row.to_built_in,
                "target": match row.limit {
                    None => Json::Null,
                    Some(Limit::AtMost(limit)) => json!({ "median": limit }),
                    Some(Limit::ToBuiltIn(limit)) => json!({ "to_built_in": limit }),
                },
                "to_target": row.ratio(),
                "met": row.met(),
            })
        });
        json!({ "machine": machine, "rows": rows.collect::<Vec<_>>() })
    }
}

/// Returns the version that the comparison is built with.
fn go_framework() -> Option<&'static str> {
    let module = include_str!("../../../crates/tf-provider/comparison/go/go.mod");
    module.lines().find_map(|line| line.trim().strip_prefix("github.com/hashicorp/terraform-plugin-framework "))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine: Vec<_> = self.machine.iter().map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(f, "{}", machine.join(" | "))?;
        let mut what = "";
        for row in &self.rows {
            if row.what != what {
                what = &row.what;
                let times = if row.spread.count > 1 { format!(", {} times", row.spread.count) } else { String::new() };
                writeln!(f, "\n{what} ({}{times})", row.unit)?;
                let head = ["median", "least", "greatest", "to Go", "built-in"].map(|name| format!("{name:>9}"));
                writeln!(f, "  {:<38}{}", "", head.concat())?;
            }
            let Spread { least, median, greatest, .. } = row.spread;
            let numbers = [Some(median), Some(least), Some(greatest), row.to_go, row.to_built_in].map(shown);
            writeln!(f, "{}", format!("  {:<38}{}  {}", row.subject, numbers.concat(), row.verdict()).trim_end())?;
        }
        match self.missed() {
            0 => writeln!(f, "\nall targets are met"),
            1 => writeln!(f, "\n1 target is missed"),
            missed => writeln!(f, "\n{missed} targets are missed"),
        }
    }
}

/// Returns a target without superfluous digits.
fn short(limit: f64) -> String {
    let text = format!("{limit:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn shown(number: Option<f64>) -> String {
    number.map_or_else(|| " ".repeat(9), |number| format!("{number:>9.2}"))
}

#[cfg(test)]
mod tests {
    use super::{Limit, Report, Row, Spread};

    fn row(median: f64, to_built_in: f64, limit: Limit) -> Row {
        let spread = Spread { least: 1.0, median, greatest: 9.0, count: 3 };
        let (to_go, to_built_in) = (Some(0.5), Some(to_built_in));
        Row { what: "start".to_owned(), subject: "it", unit: "ms", spread, to_go, to_built_in, limit: Some(limit) }
    }

    #[test]
    fn a_target_is_for_the_median_or_for_the_ratio() {
        assert_eq!(row(3.0, 9.0, Limit::AtMost(3.0)).met(), Some(true));
        assert_eq!(row(3.1, 0.1, Limit::AtMost(3.0)).met(), Some(false));
        assert_eq!(row(99.0, 1.5, Limit::ToBuiltIn(1.5)).met(), Some(true));
        assert_eq!(row(0.1, 1.6, Limit::ToBuiltIn(1.5)).met(), Some(false));
        assert_eq!(Row { limit: None, ..row(0.1, 1.6, Limit::AtMost(0.0)) }.met(), None);
    }

    #[test]
    fn a_missed_target_is_reported_in_both_forms() {
        let report = Report::new(&[], vec![row(3.1, 0.1, Limit::AtMost(3.0)), row(2.9, 0.1, Limit::AtMost(3.0))]);
        let text = report.to_string();
        assert!(text.contains("<= 3 ms           MISSED, 1.03 of it"), "{text}");
        assert!(text.contains("<= 3 ms           met, 0.97 of it"), "{text}");
        assert!(text.ends_with("1 target is missed\n"), "{text}");
        let json = report.json();
        assert_eq!((&json["rows"][0]["met"], &json["rows"][0]["median"]), (&false.into(), &3.1.into()));
        assert_eq!(json["rows"][1]["met"], true);
        assert!(json["machine"]["framework for Go"].as_str().is_some_and(|version| version.starts_with('v')));
    }
}
