//! Runs of the simulation: each ends without a breach, and two of a seed are alike.
#![cfg(test)]

use simulate::{Options, Report, run};

fn simulated(options: Options) -> Report {
    let report = run(&options).unwrap();
    assert!(report.breaches.is_empty(), "seed {}:\n{report}", options.seed);
    assert_eq!(report.conclusions.values().sum::<usize>(), options.jobs, "{report}");
    report
}

#[test]
fn a_farm_in_which_nothing_fails_ends_every_job_and_leaves_nothing() {
    let report = simulated(Options { jobs: 60, seed: 1, is_disturbed: false });
    assert_eq!((report.faults, report.kills), (0, 0));
    let known = ["success", "failure"];
    assert!(report.conclusions.keys().all(|conclusion| known.contains(&conclusion.as_str())), "{report}");
}

#[test]
fn a_disturbed_farm_breaks_no_invariant_and_leaves_nothing() {
    let report = simulated(Options { jobs: 150, seed: 2, is_disturbed: true });
    assert!(report.faults > 0 && report.kills > 0, "{report}");
}

#[test]
fn two_runs_of_a_seed_are_alike_to_the_byte() {
    let options = Options { jobs: 40, seed: 3, is_disturbed: true };
    let first = simulated(options);
    assert_eq!(first, simulated(options));
    let other = simulated(Options { seed: 4, ..options });
    assert_ne!(first.digest, other.digest);
}
