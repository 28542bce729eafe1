//! Length, progress and speed of a download, in the form of wget's `--progress=dot:giga`.

/// Bytes per dot.
const DOT: u64 = 1 << 20;
/// Dots per row.
const ROW: u64 = 32;
/// Dots per group within a row.
const GROUP: u64 = 8;

/// Returns wget's line about the length and the type of a file.
pub(super) fn length(length: Option<u64>, kind: Option<&str>) -> String {
    let mut line = match length {
        Some(length) if length >= 1024 => format!("Length: {length} ({})", human(length)),
        Some(length) => format!("Length: {length}"),
        None => "Length: unspecified".to_owned(),
    };
    if let Some(kind) = kind.and_then(|kind| kind.split(';').next()) {
        line.push_str(&format!(" [{}]", kind.trim()));
    }
    line
}

/// Returns a row for every 32 MiB, and one for the remainder.
pub(super) fn rows(bytes: u64, length: Option<u64>, seconds: f64) -> Vec<String> {
    let per_second = human(rate(bytes, seconds));
    let row = |number: u64| {
        let first = number * ROW;
        let mut dots = String::new();
        for dot in 0..ROW {
            if dot % GROUP == 0 {
                dots.push(' ');
            }
            dots.push(if (first + dot + 1) * DOT <= bytes { '.' } else { ' ' });
        }
        let so_far = ((first + ROW) * DOT).min(bytes);
        let share = length.map_or_else(String::new, |length| format!("{:3}%", so_far * 100 / length.max(1)));
        format!("{:6}K{dots}{share} {per_second:>4}", first * DOT / 1024)
    };
    let mut rows: Vec<String> = (0..=bytes / DOT / ROW).map(row).collect();
    if let Some(last) = rows.last_mut() {
        last.push_str(&format!("={seconds:.2}s"));
    }
    rows
}

/// Returns the speed in bytes per second with a unit.
pub(super) fn speed(bytes: u64, seconds: f64) -> String {
    let (number, unit) = scaled(rate(bytes, seconds));
    format!("{number:.1} {unit}B/s")
}

/// Returns a size such as `4.0M` or `192K`, with one decimal below ten.
fn human(bytes: u64) -> String {
    let (number, unit) = scaled(bytes);
    if number < 10.0 && !unit.is_empty() { format!("{number:.1}{unit}") } else { format!("{number:.0}{unit}") }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn scaled(bytes: u64) -> (f64, &'static str) {
    let mut number = bytes as f64;
    let mut unit = "";
    for next in ["K", "M", "G", "T"] {
        if number < 1024.0 {
            break;
        }
        number /= 1024.0;
        unit = next;
    }
    (number, unit)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a speed, neither negative nor exact"
)]
fn rate(bytes: u64, seconds: f64) -> u64 {
    (bytes as f64 / seconds.max(0.001)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_speed(bytes: u64) -> Vec<String> {
        let end = |line: &str| line.find('%').map_or(line.len(), |at| at + 1);
        rows(bytes, Some(bytes), 1.0).iter().map(|line| line[..end(line)].to_owned()).collect()
    }

    #[test]
    fn progress_is_shown_as_in_the_recordings() {
        assert_eq!(without_speed(196_616), ["     0K                                    100%"]);
        assert_eq!(without_speed(4 << 20), ["     0K ....                               100%"]);
        assert_eq!(
            without_speed(64 << 20),
            [
                "     0K ........ ........ ........ ........ 50%",
                " 32768K ........ ........ ........ ........100%",
                " 65536K                                    100%",
            ]
        );
    }

    #[test]
    fn lengths_are_shown_as_in_the_recordings() {
        assert_eq!(length(Some(191), Some("text/html")), "Length: 191 [text/html]");
        assert_eq!(length(Some(473_088), None), "Length: 473088 (462K)");
        assert_eq!(length(Some(4 << 20), Some("a/b; charset=c")), "Length: 4194304 (4.0M) [a/b]");
        assert_eq!(length(None, Some("a/b")), "Length: unspecified [a/b]");
    }
}
