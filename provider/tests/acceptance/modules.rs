//! The tests of the shipped modules: `tofu test` and `terraform test` with a provider that is mocked by its schema.

use std::path::Path;

use farm::engines::cores;
use farm::harness::Feature;
use farm::image::copy;
use farm::mirror::Mirror;
use farm::simulation::repository;

use crate::working_directory::provider;

#[tokio::test]
async fn shipped_modules_pass_their_tests() {
    for core in cores().expect("a core") {
        if !core.can(Feature::MockProvider) {
            println!("not applicable: tests of modules, {core}: {}", Feature::MockProvider);
            continue;
        }
        let directory = tempfile::tempdir().expect("directory");
        let mirror = Mirror::lay_out(directory.path(), &provider(), None).expect("mirror");
        // Modules refer to the images in `runners`.
        for part in ["modules", "runners"] {
            copy(&repository().join(part), &directory.path().join(part)).expect("copied");
        }
        let modules = directory.path().join("modules");
        for entry in std::fs::read_dir(&modules).expect("modules") {
            let module = entry.expect("entry").path();
            assert!(has_tests(&module), "{} ships without tests", module.display());
            let work = mirror.working_directory(core.clone(), module);
            work.init().await.expect("init");
            let finished = work.run(&["test", "-no-color"]).await.and_then(|finished| finished.succeeded());
            let reported = finished.expect("the module's tests pass").stdout;
            assert!(reported.contains(" passed, 0 failed") && !reported.contains("Success! 0 passed"), "{reported}");
        }
    }
}

fn has_tests(module: &Path) -> bool {
    let files = std::fs::read_dir(module.join("tests")).into_iter().flatten().filter_map(Result::ok);
    files.into_iter().any(|file| file.file_name().to_string_lossy().ends_with(".tftest.hcl"))
}
