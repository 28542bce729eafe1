//! Builds the Packer template of a directory and prints the events: `build DIRECTORY [NAME=VALUE]…`.
//!
//! `crates/packer-driver/tests` kills it while it builds.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use packer_driver::{Build, Packer};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let directory = PathBuf::from(words.next().ok_or("usage: build DIRECTORY [NAME=VALUE]…")?);
    let variables = words.filter_map(|word| {
        let (name, value) = word.split_once('=')?;
        Some((name.to_owned(), value.into()))
    });
    let build = Build {
        directory: &directory,
        variables: variables.collect(),
        secrets: Vec::new(),
        certificates: None,
        cancel: CancellationToken::new(),
        deadline: None,
        grace: Duration::from_secs(20),
    };
    let named = std::env::var_os("PXCI_PACKER").map(PathBuf::from);
    let packer = Packer::locate(named.as_deref(), &std::env::var_os("PATH").unwrap_or_default()).await?;
    let artifact = packer.build(&build, |event| println!("{event:?}")).await?;
    println!("{artifact:?}");
    Ok(())
}
