//! Checks the licences of all dependencies. Advisories are not checked, because no package registry has their database.

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;
use spdx::{Expression, Licensee, ParseMode};

/// Licences that allow shipping a program under Apache-2.0 or MIT.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Checks that every package's licence expression can be satisfied by [`ALLOWED`].
pub(super) fn check() -> Result<()> {
    let allowed: Vec<Licensee> = ALLOWED.iter().map(|licence| Licensee::parse(licence)).collect::<Result<_, _>>()?;
    let packages = MetadataCommand::new().exec().context("asking cargo for all dependencies")?.packages;
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !is_allowed(package.license.as_deref().unwrap_or_default(), &allowed))
        .map(|package| {
            format!("{} {}: {}", package.name, package.version, package.license.as_deref().unwrap_or("none"))
        })
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    bail!("these dependencies have other licences than the allowed ones:\n{}", refused.join("\n"))
}

fn is_allowed(expression: &str, allowed: &[Licensee]) -> bool {
    // Old packages separate alternatives by a slash.
    let Ok(expression) = Expression::parse_mode(expression, ParseMode::LAX) else { return false };
    expression.evaluate(|requirement| allowed.iter().any(|licensee| licensee.satisfies(requirement)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_alternative_is_enough_and_all_joined_parts_are_needed() {
        let allowed = [Licensee::parse("MIT").unwrap(), Licensee::parse("ISC").unwrap()];
        for good in ["MIT", "GPL-3.0-only OR MIT", "MIT/Apache-2.0", "MIT AND ISC"] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0-only", "MIT AND GPL-3.0-only"] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }
}
