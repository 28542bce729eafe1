//! Measures plans, and compares them with plans of the same number of resources that need no provider program.

use std::path::Path;

use anyhow::{Result, ensure};
use farm::harness::{Core, WorkingDirectory};

use super::configurations::{ConfigurationPair, Provider, Subject};
use super::programs::Programs;
use super::report::{Limit, Row};
use super::spread::{Spread, ratio};
use super::subject;

/// Greatest ratio to the built-in type.
const LIMIT: f64 = 1.5;

/// Returns the subjects, the built-in type first.
pub(super) fn subjects(programs: &Programs) -> [Subject; 4] {
    let block = "directory = \"@\"";
    let paper = |name, program: &Path| Subject {
        name,
        provider: Some(Provider { source: "example.com/example/paper", program: program.to_owned(), block }),
        resource: "paper_note",
        arguments: "  name = \"note-${count.index}\"\n  text = \"Text of note ${count.index}.\"",
    };
    [
        Subject {
            name: subject::BUILT_IN,
            provider: None,
            resource: "terraform_data",
            arguments: "  input = \"Text of note ${count.index}.\"",
        },
        Subject {
            name: subject::SHELF,
            provider: Some(Provider { source: "example.com/example/shelf", program: programs.shelf.clone(), block }),
            resource: "shelf_box",
            arguments: "  name = \"box-${count.index}\"\n  weight = 0.1\n  contents = [\"a\", \"b\"]\n  lid = {}",
        },
        paper(subject::PAPER, &programs.paper),
        paper(subject::GO, &programs.go),
    ]
}

pub(super) async fn measure(core: &Core, programs: &Programs, resources: u32, rounds: u32) -> Result<Vec<Row>> {
    let mut sites = Vec::new();
    for subject in subjects(programs) {
        let site = ConfigurationPair::lay_out(core, &subject, resources)?;
        site.applied.apply().await?;
        sites.push(site);
    }
    let mut rows = in_turns(&sites, format!("plan, {resources} to create, {core}"), rounds, |site| {
        (&site.empty, "to add, 0 to change, 0 to destroy")
    })
    .await?;
    rows.extend(
        in_turns(&sites, format!("plan, {resources} unchanged, {core}"), rounds, |site| (&site.applied, "No changes."))
            .await?,
    );
    Ok(rows)
}

/// Returns the seconds of each site. Each round starts with another site.
async fn in_turns(
    sites: &[ConfigurationPair],
    what: String,
    rounds: u32,
    state: fn(&ConfigurationPair) -> (&WorkingDirectory, &str),
) -> Result<Vec<Row>> {
    let mut measured = vec![Vec::new(); sites.len()];
    for site in sites {
        // The first run reads the files into memory.
        plan(site, state(site)).await?;
    }
    for round in 0..rounds as usize {
        for turn in 0..sites.len() {
            let index = (round + turn) % sites.len();
            measured[index].push(plan(&sites[index], state(&sites[index])).await?);
        }
    }
    let times = |name: &str| sites.iter().zip(&measured).find(|(site, _)| site.name == name).map(|(_, times)| times);
    let rows = sites.iter().zip(&measured).filter_map(|(site, own)| {
        let limited = [subject::SHELF, subject::PAPER].contains(&site.name);
        Some(Row {
            what: what.clone(),
            subject: site.name,
            unit: "s",
            spread: Spread::of(own)?,
            to_go: times(subject::GO).and_then(|go| ratio(own, go)),
            to_built_in: times(subject::BUILT_IN).and_then(|built_in| ratio(own, built_in)),
            limit: limited.then_some(Limit::ToBuiltIn(LIMIT)),
        })
    });
    Ok(rows.collect())
}

async fn plan(site: &ConfigurationPair, (directory, expected): (&WorkingDirectory, &str)) -> Result<f64> {
    let finished = directory.run(&["plan", "-no-color"]).await?.succeeded()?;
    ensure!(finished.stdout.contains(expected), "{}: another plan than wanted:\n{}", site.name, finished.text());
    Ok(finished.took.as_secs_f64())
}
