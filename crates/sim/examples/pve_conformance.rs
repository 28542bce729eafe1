//! Replays a directory of recordings: `pve_conformance <directory>`.

use std::error::Error;
use std::path::PathBuf;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: pve_conformance <directory>")?;
    println!("{}", sim::pve::conformance::run(&PathBuf::from(directory)).await?);
    Ok(())
}
