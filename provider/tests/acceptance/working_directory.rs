//! Working directories in which a core runs the provider against a farm.

use std::fs;
use std::path::{Path, PathBuf};

use farm::harness::{Core, WorkingDirectory};
use farm::mirror::Mirror;
use farm::simulation::Farm;

/// Directory of the configurations that tests copy.
pub(crate) const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/acceptance/fixtures");

/// Returns the path of the provider's program.
pub(crate) fn provider() -> PathBuf {
    std::env::var_os("PXCI_PROVIDER")
        .map_or_else(|| env!("CARGO_BIN_EXE_terraform-provider-pxci").into(), PathBuf::from)
}

/// Installs the process's TLS implementation, unless another test has installed it.
pub(crate) fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Makes a working directory with copies of these fixtures. The core finds the provider in a mirror, and the
/// environment configures the provider for the farm. `directory` takes the working directory, the mirror and
/// certificates.
pub(crate) fn with_fixtures(
    fixtures: &[&str],
    farm: &Farm,
    core: Core,
    directory: &Path,
    appliance: Option<&Path>,
) -> WorkingDirectory {
    let path = directory.join("work");
    fs::create_dir(&path).expect("directory");
    let mirror = Mirror::lay_out(directory, &provider(), appliance).expect("mirror");
    let mut work = mirror.working_directory(core, path);
    for name in fixtures {
        let text = fs::read_to_string(Path::new(FIXTURES).join(name)).expect("fixture");
        work.write(name, &text).expect("fixture");
    }
    for (name, value) in farm.provider_environment(directory).expect("environment") {
        work.set(&name, &value);
    }
    work
}
