//! Lines that PVE prints during operations on volumes.

/// Receiver of the lines that PVE prints during an operation.
pub(crate) type Print<'a> = &'a (dyn Fn(String) + Sync);

/// Discards the lines.
pub(crate) fn quiet(_: String) {}

/// Prints `transferred …` lines from 0 to `percent`.
pub(crate) fn transferred(size: u64, percent: u64, print: Print<'_>) {
    let step = if size >= 1 << 30 { 90 } else { 32.min(size >> 20).max(1) };
    for at in 0..=step {
        if at * 100 / step <= percent {
            print(format!("transferred {} of {} ({})", human(size / step * at), human(size), share(at, step)));
        }
    }
}

fn share(at: u64, of: u64) -> String {
    format!("{:.2}%", at as f64 * 100.0 / of as f64)
}

pub(crate) fn human(bytes: u64) -> String {
    let mut number = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if number < 1024.0 {
            break;
        }
        number /= 1024.0;
        unit = next;
    }
    format!("{number:.1} {unit}")
}
