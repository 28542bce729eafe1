//! Dependencies between our crates point one way; `docs/architecture.md` draws them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Dependencies that each package has outside its tests. An arrow that no package uses fails the test.
const ALLOWED: &[(&str, &[&str])] = &[
    ("pxci-cloudinit", &[]),
    (
        "pxci-dispatcher",
        &[
            "pxci-dispatcher-api",
            "pxci-error-chain",
            "pxci-fleet",
            "pxci-github",
            "pxci-guest",
            "pxci-ownership",
            "pxci-pve",
        ],
    ),
    ("pxci-dispatcher-api", &["pxci-ownership"]),
    ("pxci-error-chain", &[]),
    (
        "pxci-farm",
        &["pxci-sim-backend", "pxci-sim-github", "pxci-sim-guest", "pxci-sim-pve", "pxci-tf-provider-testing"],
    ),
    ("pxci-fleet", &["pxci-dispatcher-api", "pxci-ownership"]),
    ("pxci-fuzz-targets", &["pxci-cloudinit", "pxci-dispatcher-api", "pxci-ownership", "pxci-pve", "pxci-tf-provider"]),
    ("pxci-github", &["pxci-ownership"]),
    ("pxci-guest", &["pxci-github", "pxci-ownership", "pxci-pve"]),
    ("pxci-ownership", &[]),
    ("pxci-packer-driver", &[]),
    ("pxci-pve", &["pxci-ownership"]),
    ("pxci-sim", &["pxci-sim-github", "pxci-sim-http", "pxci-sim-pve"]),
    ("pxci-sim-backend", &[]),
    ("pxci-sim-github", &["pxci-sim-http"]),
    ("pxci-sim-guest", &["pxci-sim-backend"]),
    ("pxci-sim-http", &[]),
    ("pxci-sim-pve", &["pxci-sim-backend", "pxci-sim-http"]),
    ("pxci-sim-replay", &["pxci-sim-http", "pxci-sim-pve"]),
    (
        "pxci-simulate",
        &[
            "pxci-dispatcher",
            "pxci-dispatcher-api",
            "pxci-github",
            "pxci-ownership",
            "pxci-pve",
            "pxci-sim-backend",
            "pxci-sim-github",
            "pxci-sim-http",
            "pxci-sim-pve",
        ],
    ),
    ("pxci-template-family", &["pxci-ownership", "pxci-pve"]),
    ("pxci-tf-provider", &["pxci-error-chain", "pxci-tf-provider-derive"]),
    ("pxci-tf-provider-derive", &[]),
    ("pxci-tf-provider-testing", &["pxci-tf-provider"]),
    (
        "terraform-provider-pxci",
        &[
            "pxci-cloudinit",
            "pxci-dispatcher-api",
            "pxci-error-chain",
            "pxci-github",
            "pxci-guest",
            "pxci-ownership",
            "pxci-packer-driver",
            "pxci-pve",
            "pxci-template-family",
            "pxci-tf-provider",
        ],
    ),
    (
        "xtask",
        &[
            "pxci-farm",
            "pxci-sim",
            "pxci-sim-github",
            "pxci-sim-guest",
            "pxci-sim-http",
            "pxci-sim-pve",
            "pxci-sim-replay",
        ],
    ),
];

/// Packages that any test may use: the simulators, which use nothing of ours.
const FOR_TESTS: &[&str] = &[
    "pxci-farm",
    "pxci-sim",
    "pxci-sim-backend",
    "pxci-sim-github",
    "pxci-sim-guest",
    "pxci-sim-http",
    "pxci-sim-pve",
];

/// Further dependencies of the tests of one package, as package and dependency.
const FOR_TESTS_OF: &[(&str, &str)] = &[
    ("pxci-dispatcher", "pxci-dispatcher"),
    ("pxci-dispatcher-api", "pxci-dispatcher-api"),
    ("pxci-ownership", "pxci-ownership"),
    ("pxci-tf-provider", "pxci-tf-provider-testing"),
    ("pxci-tf-provider-derive", "pxci-tf-provider"),
];

#[test]
fn dependencies_point_one_way() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata answers");
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(
        ours,
        allowed.keys().copied().collect(),
        "every package has its line in ALLOWED, and no line is left over"
    );

    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let permitted = allowed[package.name.as_str()];
        for dependency in package.dependencies.iter().filter(|dependency| ours.contains(dependency.name.as_str())) {
            let for_tests = dependency.kind == DependencyKind::Development
                && (FOR_TESTS.contains(&dependency.name.as_str())
                    || FOR_TESTS_OF.contains(&(package.name.as_str(), dependency.name.as_str())));
            if !for_tests && !permitted.contains(&dependency.name.as_str()) {
                wrong.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "these arrows point the wrong way: {wrong:?}");

    let unused: Vec<String> = metadata
        .packages
        .iter()
        .flat_map(|package| {
            let used = |name: &str| {
                package
                    .dependencies
                    .iter()
                    .any(|dependency| dependency.name == name && dependency.kind != DependencyKind::Development)
            };
            allowed[package.name.as_str()]
                .iter()
                .filter(move |name| !used(name))
                .map(|name| format!("{} -> {name}", package.name))
        })
        .collect();
    assert!(unused.is_empty(), "no package uses these arrows: {unused:?}");
}

/// Features that only tests may turn on, as package and feature.
const FEATURES_FOR_TESTS: &[(&str, &str)] = &[("pxci-dispatcher", "failpoints")];

#[test]
fn a_feature_for_tests_is_in_no_released_program() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata answers");
    for (owner, feature) in FEATURES_FOR_TESTS {
        let named = |name: &String| name == feature || name.ends_with(&format!("/{feature}"));
        let has_feature =
            |package: &&cargo_metadata::Package| package.name == *owner && package.features.contains_key(*feature);
        assert!(metadata.packages.iter().any(|package| has_feature(&package)), "{owner} has no feature {feature}");
        let mut users = Vec::new();
        for package in &metadata.packages {
            let of_features = package.features.values().flatten().filter(|name| named(name)).count();
            let dependencies = package.dependencies.iter().filter(|dependency| dependency.name == *owner);
            let outside_of_tests = dependencies.filter(|dependency| dependency.kind != DependencyKind::Development);
            let of_dependencies =
                outside_of_tests.flat_map(|dependency| &dependency.features).filter(|name| named(name)).count();
            users.extend((of_features + of_dependencies > 0).then_some(&package.name));
        }
        assert!(users.is_empty(), "{users:?} turn {feature} on outside of tests");
    }
}

/// Packages that do I/O, read a clock, draw random numbers, or encrypt. The tree of the decisions must not have them.
const IMPURE: &[&str] = &[
    "crypto_box",
    "pxci-github",
    "pxci-guest",
    "pxci-pve",
    "rand",
    "rand_core",
    "reqwest",
    "ring",
    "rusqlite",
    "sha2",
    "tokio",
];

/// Returns the packages from which a package is built by itself, with its own features only.
fn tree_of(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--package", package, "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}", "--target", "all"])
        .output()
        .expect("cargo tree runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree failed: {complaint}");
    let text = String::from_utf8(output.stdout).expect("cargo tree prints UTF-8");
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn the_fleet_is_built_from_nothing_that_does_io_or_is_random() {
    let tree = tree_of("pxci-fleet");
    assert!(tree.contains("pxci-dispatcher-api") && tree.contains("jiff"), "this is not the fleet's tree: {tree:?}");
    let impure: Vec<_> = IMPURE.iter().filter(|name| tree.contains(**name)).collect();
    assert!(impure.is_empty(), "the fleet's tree contains {impure:?}");
}

#[test]
fn the_tree_of_a_package_shows_what_the_fleet_must_not_have() {
    let tree = tree_of("pxci-dispatcher");
    let unknown: Vec<_> = IMPURE.iter().filter(|name| !tree.contains(**name)).collect();
    assert!(unknown.is_empty(), "no package has these names, so a search for them proves nothing: {unknown:?}");
}
