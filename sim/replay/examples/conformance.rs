//! Replays a directory of recordings: `conformance <directory> [undeclared]`. With `undeclared` it prints the fields of
//! recorded answers that PVE's schema does not declare.

use std::error::Error;
use std::path::PathBuf;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: conformance <directory>")?;
    let report = sim_replay::run(&PathBuf::from(directory)).await?;
    match std::env::args().nth(2).as_deref() {
        Some("undeclared") => report.recorded_undeclared().iter().for_each(|what| println!("{what}")),
        _ => println!("{report}"),
    }
    Ok(())
}
