//! Median and range of repeated measurements.

/// Minimum, median and maximum of some measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) greatest: f64,
    pub(super) count: usize,
}

impl Spread {
    /// Returns `None` without measurements.
    pub(super) fn of(measured: &[f64]) -> Option<Self> {
        let mut sorted = measured.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, greatest) = (*sorted.first()?, *sorted.last()?);
        Some(Self { least, median: median(&sorted), greatest, count: sorted.len() })
    }

    /// Returns the spread of one measurement.
    pub(super) fn once(measured: f64) -> Self {
        Self { least: measured, median: measured, greatest: measured, count: 1 }
    }
}

/// Returns the median. For an even number of measurements it is the mean of the two in the middle.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// Returns the median of the ratios within each round, because a busy machine affects all measurements of a round.
pub(super) fn ratio(measured: &[f64], reference: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = measured.iter().zip(reference).map(|(one, other)| one / other).collect();
    Spread::of(&ratios).map(|spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::{Spread, ratio};

    #[test]
    fn the_median_is_in_the_middle_and_order_does_not_matter() {
        let spread = Spread::of(&[5.0, 1.0, 9.0]).unwrap();
        assert_eq!((spread.least, spread.median, spread.greatest, spread.count), (1.0, 5.0, 9.0, 3));
        assert_eq!(Spread::of(&[4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_busy_round_does_not_change_the_ratio() {
        assert_eq!(ratio(&[2.0, 20.0, 2.0], &[1.0, 10.0, 1.0]), Some(2.0));
        assert_eq!(ratio(&[], &[]), None);
    }
}
