//! Packages that may be published are complete.

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Packages of the provider framework, with the packages that it depends on. All others stay in this repository.
const PUBLISHABLE: [&str; 4] =
    ["pxci-error-chain", "pxci-tf-provider", "pxci-tf-provider-derive", "pxci-tf-provider-testing"];

/// Returns the reasons for which `cargo package` or a registry would refuse a package.
fn problems(package: &Package) -> Vec<String> {
    let fields = [
        ("description", package.description.is_some()),
        ("license", package.license.is_some()),
        ("repository", package.repository.is_some()),
        ("readme", package.readme().is_some_and(|readme| readme.is_file())),
        ("keywords", (1..=5).contains(&package.keywords.len())),
        ("categories", (1..=5).contains(&package.categories.len())),
        ("rust-version", package.rust_version.is_some()),
    ];
    let mut found: Vec<String> =
        fields.iter().filter(|(_, good)| !good).map(|(field, _)| format!("{}: {field}", package.name)).collect();
    for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
        let has_version = dependency.req.to_string() != "*";
        // A dev-dependency with a version would be a cycle of published packages.
        if has_version == (dependency.kind == DependencyKind::Development) {
            found.push(format!("{}: version of {}", package.name, dependency.name));
        }
        if has_version && !PUBLISHABLE.contains(&dependency.name.as_str()) {
            found.push(format!("{}: {} is not published", package.name, dependency.name));
        }
        if has_version && !dependency.req.matches(&package.version) {
            found.push(format!("{}: {} has another version", package.name, dependency.name));
        }
    }
    found
}

#[test]
fn the_framework_can_be_packaged_and_nothing_else_can() {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata answers");
    let publishable: Vec<&Package> =
        metadata.packages.iter().filter(|package| package.publish != Some(Vec::new())).collect();
    let mut names: Vec<&str> = publishable.iter().map(|package| package.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, PUBLISHABLE);
    let found: Vec<String> = publishable.into_iter().flat_map(problems).collect();
    assert!(found.is_empty(), "missing or wrong in a Cargo.toml: {found:?}");
}
