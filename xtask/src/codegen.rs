//! Generates the protocol code from `proto/`. Neither this nor a build needs `protoc`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const SOURCES: [&str; 4] =
    ["tfplugin6.proto", "plugin/grpc_broker.proto", "plugin/grpc_controller.proto", "plugin/grpc_stdio.proto"];

/// Messages that contain the user's values: their `Debug` is written by hand and shows none of them.
const WITHOUT_DEBUG: [&str; 2] = [".tfplugin6.DynamicValue", ".tfplugin6.RawState"];

/// Writes the generated code. With `check`, compares it with the checked-in code and writes nothing.
///
/// # Errors
/// Fails if a definition cannot be compiled or, with `check`, a file differs.
pub(crate) fn run(check: bool) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is in the workspace")?;
    let checked_in = root.join("crates/tf-provider/src/generated");
    if !check {
        return generate(&root.join("proto"), &checked_in);
    }
    let fresh = tempfile::tempdir().context("no temporary directory")?;
    generate(&root.join("proto"), fresh.path())?;
    for path in rust_files(fresh.path())? {
        let name = path.file_name().context("a generated file has a name")?;
        let committed = fs::read_to_string(checked_in.join(name)).unwrap_or_default();
        if committed != fs::read_to_string(&path)? {
            bail!("{} does not match proto/: run `cargo xtask codegen`", checked_in.join(name).display());
        }
    }
    Ok(())
}

fn generate(definitions: &Path, target: &Path) -> Result<()> {
    let descriptors = protox::compile(SOURCES, [definitions]).context("proto/ does not compile")?;
    let mut builder = tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .generate_default_stubs(true)
        .skip_debug(WITHOUT_DEBUG)
        .out_dir(target);
    // The comments are for readers of proto/. In Rust documentation, rustdoc would check them for links.
    builder = builder.disable_comments(["."]);
    builder.compile_fds(descriptors).context("no code could be generated")
}

fn rust_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(entries.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn checked_in_protocol_code_matches_the_definitions() {
        super::run(true).expect("up to date");
    }
}
