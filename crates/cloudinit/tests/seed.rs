//! The image is read by independent programs.

#![cfg(test)]

use std::path::Path;
use std::process::Command;

use cloudinit::SeedIso;

fn seed() -> SeedIso {
    SeedIso {
        user_data: format!("#cloud-config\nhostname: x\n# {}\n", "long ".repeat(1000)),
        meta_data: Some("instance-id: i-1\n".to_owned()),
        network_config: Some("version: 2\n".to_owned()),
        vendor_data: Some(String::new()),
    }
}

/// Runs a program that reads ISO images. Panics with advice if the program is not installed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program} cannot be run ({error}); run `cargo xtask setup`"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn write(path: &Path, image: &[u8]) -> String {
    std::fs::write(path, image).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_same_input_gives_the_same_bytes_and_other_input_another_digest() {
    let (first, second) = (seed().build(), seed().build());
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(first.sha256.len(), 64);
    let other = SeedIso { user_data: "#cloud-config\n".to_owned(), ..seed() }.build();
    assert_ne!(first.sha256, other.sha256);
}

#[test]
fn the_bytes_do_not_change_between_releases() {
    let image = SeedIso { user_data: "#cloud-config\n".to_owned(), ..SeedIso::default() }.build();
    assert_eq!(image.sha256, "654ae4b1345acef610846464b558f42926671293a9f0988277e45a3434c4a8ca");
}

#[test]
fn blkid_finds_the_label_that_cloud_init_searches_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(&directory.path().join("seed.iso"), &seed().build().bytes);
    let found = run("blkid", &["-o", "export", &path]);
    assert!(found.lines().any(|line| line.eq_ignore_ascii_case("LABEL=cidata")), "{found}");
    assert!(found.contains("TYPE=iso9660"), "{found}");
}

#[test]
fn xorriso_reads_every_file_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(&directory.path().join("seed.iso"), &seed().build().bytes);
    for extensions in [&["-read_fs", "norock"][..], &["-read_fs", "any"][..]] {
        let target = directory.path().join(extensions[1]);
        let mut arguments = extensions.to_vec();
        arguments.extend(["-osirrox", "on", "-indev", &path, "-extract", "/", target.to_str().unwrap()]);
        run("xorriso", &arguments);
        for (name, content) in [
            ("user-data", seed().user_data),
            ("meta-data", seed().meta_data.unwrap()),
            ("network-config", seed().network_config.unwrap()),
            ("vendor-data", String::new()),
        ] {
            assert_eq!(std::fs::read_to_string(target.join(name)).unwrap(), content, "{name} with {extensions:?}");
        }
    }
}
