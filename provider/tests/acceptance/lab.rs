//! A farm for one test: simulators, a mirror with the provider, a working directory, one core.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use farm::engines::cores;
use farm::harness::{Core, WorkingDirectory};
use farm::simulation::{Farm, Guests, SimulatedPve, Simulation, usual_world};
use serde_json::Value;
use sim_pve::World;
use tempfile::TempDir;

use crate::administrator::Administrator;
use crate::diagnostic::Problem;
use crate::fake_dispatcher::Dispatchers;
use crate::working_directory::{self, FIXTURES, install_tls};

/// Longest wait for the removal of guests and files. A server may still remove them after its answer.
const DEADLINE: Duration = Duration::from_secs(20);

/// A resource whose configuration is a file in `fixtures`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fixture {
    /// `pxci_cloudinit_snippet`.
    Snippet,
    /// `pxci_runner_vm`, with its template at VMID 9000.
    RunnerVm,
    /// `pxci_template`, with a Packer that fails.
    Template,
    /// `pxci_dispatcher_lxc`, with an appliance.
    Dispatcher,
}

impl Fixture {
    fn file(self) -> &'static str {
        match self {
            Self::Snippet => "snippet.tf",
            Self::RunnerVm => "runner_vm.tf",
            Self::Template => "template.tf",
            Self::Dispatcher => "dispatcher.tf",
        }
    }

    /// Makes the things that the resource needs.
    async fn prepare(self, lab: &mut Lab) {
        match self {
            Self::Snippet => {}
            Self::RunnerVm => lab.template(9000).await,
            Self::Template => lab.stub_packer("exit 1"),
            Self::Dispatcher => Lab::stub_appliance_in(&lab.work),
        }
    }
}

/// Simulators and a working directory, which are removed on drop.
pub(crate) struct Lab {
    pub(crate) farm: Farm,
    pub(crate) work: WorkingDirectory,
    pub(crate) administrator: Administrator,
    /// Things in the farm that are not of the provider.
    before: BTreeSet<String>,
    core: Core,
    directories: Vec<TempDir>,
}

/// Runs a test with each core, each time in a new lab. Afterwards the resources in the state are destroyed, and the
/// provider must have left nothing in the farm.
pub(crate) async fn with_each_core(fixture: Fixture, test: impl AsyncFn(&mut Lab)) {
    with_each_core_in(&usual_world(), fixture, test).await;
}

/// Runs a test as [`with_each_core`] does, in a cluster of two nodes, `pve1` and `pve2`.
pub(crate) async fn with_each_core_and_two_nodes(fixture: Fixture, test: impl AsyncFn(&mut Lab)) {
    with_each_core_in(&usual_world().node("pve2"), fixture, test).await;
}

/// Runs a test as [`with_each_core`] does, but no resource may be in the state at its end.
pub(crate) async fn refused_with_each_core(fixture: Fixture, test: impl AsyncFn(&mut Lab)) {
    with_each_core(fixture, async |lab| {
        test(lab).await;
        lab.is_as_before().await;
    })
    .await;
}

async fn with_each_core_in(world: &World, fixture: Fixture, test: impl AsyncFn(&mut Lab)) {
    install_tls();
    for core in cores().expect("a core") {
        println!("{fixture:?} with {core}");
        let mut lab = Lab::start(core, fixture, world.clone()).await;
        fixture.prepare(&mut lab).await;
        test(&mut lab).await;
        lab.end().await;
    }
}

impl Lab {
    async fn start(core: Core, fixture: Fixture, world: World) -> Self {
        let guests = Guests::Played(Dispatchers::default().containers());
        let simulation = Simulation { world: Some(world), ..Simulation::of(guests) };
        let farm = Farm::simulated_as(simulation).await.expect("farm");
        let (work, directory) = working_directory(&farm, core.clone(), fixture).await;
        let administrator = Administrator::new(simulated(&farm));
        Self { farm, work, administrator, before: BTreeSet::new(), core, directories: vec![directory] }
    }

    /// Destroys the resources in the state. The provider must leave nothing in the farm.
    async fn end(self) {
        if !self.resources().await.is_empty() {
            self.work.destroy().await.expect("destroy");
        }
        self.is_as_before().await;
    }

    /// Returns another working directory, with its own state, for the same farm.
    pub(crate) async fn other_state(&mut self, fixture: Fixture) -> WorkingDirectory {
        let (work, directory) = working_directory(&self.farm, self.core.clone(), fixture).await;
        self.directories.push(directory);
        work
    }

    /// Returns the volumes on the farm's storages that the provider made.
    pub(crate) fn volumes(&self) -> Vec<String> {
        let now = self.farm.leftovers().into_iter().filter(|thing| !self.before.contains(thing));
        let mut volumes: Vec<String> =
            now.filter_map(|thing| thing.strip_prefix("volume ").map(str::to_owned)).collect();
        volumes.sort();
        volumes
    }

    /// Puts a file onto a storage, as another user of the cluster would.
    pub(crate) fn put_file(&self, volid: &str) {
        let path = self.directories[0].path().join("file");
        fs::write(&path, "foreign").expect("written");
        self.pve().handle.put_file(volid, &path).expect("placed");
    }

    /// Returns the simulated Proxmox VE.
    pub(crate) fn pve(&self) -> &SimulatedPve {
        simulated(&self.farm)
    }

    /// Sets a variable of the fixture.
    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.work.set(&format!("TF_VAR_{variable}"), value);
    }

    /// Resets a variable of the fixture to its default.
    pub(crate) fn unset(&mut self, variable: &str) {
        self.work.unset(&format!("TF_VAR_{variable}"));
    }

    /// Sets an environment variable. An empty value counts as not set.
    pub(crate) fn environment(&mut self, name: &str, value: &str) {
        self.work.set(name, value);
    }

    /// Adds arguments to the provider block. They take precedence over the environment.
    pub(crate) fn provider_block(&self, arguments: &str) {
        let text = fs::read_to_string(Path::new(FIXTURES).join("provider.tf")).expect("fixture");
        let text = text.replace("provider \"pxci\" {", &format!("provider \"pxci\" {{\n  {arguments}"));
        self.work.write("provider.tf", &text).expect("written");
    }

    /// Writes a program that stands for Packer. `build` is a shell script for `packer build`; `$variables` is the path
    /// of the file with the variables.
    pub(crate) fn stub_packer(&self, build: &str) {
        let script = format!(
            "#!/bin/sh\nfor word; do case $word in -var-file=*) variables=${{word#-var-file=}} ;; esac; done\n\
             case $1 in\n  version) echo '1600000000,,version,1.6.6' ;;\n  build)\n    {build}\n    ;;\nesac\n"
        );
        self.work.write("packer", &script).expect("written");
        let path = self.work.path().join("packer");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
    }

    /// Writes an appliance of a newer version, and returns its file name.
    pub(crate) fn newer_appliance(&self) -> String {
        let name = "pxci-dispatcher-appliance_0.0.2_amd64.tar.zst";
        fs::write(self.work.path().join(name), [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 1, 0, 0, 2]).expect("written");
        name.to_owned()
    }

    /// Writes a file with the name and the first bytes of an appliance.
    pub(crate) fn stub_appliance_in(work: &WorkingDirectory) {
        let path = work.path().join("pxci-dispatcher-appliance_0.0.1_amd64.tar.zst");
        fs::write(path, [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 1, 0, 0]).expect("written");
    }

    /// Makes a template, as a user would by hand.
    pub(crate) async fn template(&mut self, vmid: u32) {
        self.administrator.make_template(vmid, "by-hand", "foreign", "").await;
        self.counts_as_before();
    }

    /// Records that everything in the farm now is not of the provider.
    pub(crate) fn counts_as_before(&mut self) {
        self.before = self.farm.leftovers().into_iter().collect();
    }

    /// Asserts that the state is empty and that the provider has left nothing in the farm.
    pub(crate) async fn is_as_before(&self) {
        assert_eq!(self.resources().await, [""; 0], "resources in the state");
        let started = Instant::now();
        loop {
            let now: BTreeSet<String> = self.farm.leftovers().into_iter().collect();
            if now == self.before {
                return;
            }
            let left: Vec<&String> = now.difference(&self.before).collect();
            let gone: Vec<&String> = self.before.difference(&now).collect();
            assert!(started.elapsed() < DEADLINE, "left behind: {left:?}; gone: {gone:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the requests that used the provider's token.
    pub(crate) fn calls(&self) -> Vec<String> {
        let entries = self.pve().handle.requests().entries();
        let ours = entries.into_iter().filter(|entry| entry.caller == self.farm.pve.provider.id);
        ours.map(|entry| format!("{} {}", entry.method, entry.path)).collect()
    }

    /// Returns the VMIDs of the guests that the provider made.
    pub(crate) fn guests(&self) -> Vec<u64> {
        let numbers = self.pve().handle.guests().into_iter();
        let own = |vmid: &u32| self.before.contains(&format!("qemu {vmid}"));
        numbers.filter(|vmid| !own(vmid)).map(u64::from).collect()
    }

    /// Runs the core, which must succeed.
    pub(crate) async fn succeed(&self, words: &[&str]) {
        self.work.run(words).await.and_then(|finished| finished.succeeded()).expect("success");
    }

    /// Runs the core, which must fail, and returns its errors.
    pub(crate) async fn problems(&self, command: &str) -> Vec<Problem> {
        let words: &[&str] = if command == "plan" { &["plan", "-json"] } else { &[command, "-json", "-auto-approve"] };
        let finished = self.work.run(words).await.expect("the core runs");
        assert!(!finished.status.success(), "`{command}` passed:\n{}", finished.stdout);
        Problem::all(&finished.stdout)
    }

    /// Runs the core, which must fail with one error.
    pub(crate) async fn refused(&self, command: &str) -> Problem {
        let mut problems = self.problems(command).await;
        assert_eq!(problems.len(), 1, "one error is enough: {problems:#?}");
        problems.remove(0)
    }

    /// Returns the changes of a plan with these further arguments.
    pub(crate) async fn changes(&self, further: &[&str]) -> Vec<String> {
        self.work.plan_with(further).await.expect("a plan").changes()
    }

    /// Returns the attributes of a resource in the state.
    pub(crate) async fn attributes(&self, address: &str) -> Option<Value> {
        let state = self.work.state().await.expect("state");
        let resources = state["values"]["root_module"]["resources"].as_array().cloned().unwrap_or_default();
        resources
            .into_iter()
            .find(|resource| resource["address"] == address)
            .map(|mut resource| resource["values"].take())
    }

    async fn resources(&self) -> Vec<String> {
        let state = self.work.state().await.expect("state");
        let resources = state["values"]["root_module"]["resources"].as_array().cloned().unwrap_or_default();
        resources.iter().map(|resource| resource["address"].to_string()).collect()
    }

    /// Returns true if the resource is replaced next, because its creation failed.
    pub(crate) fn is_tainted(&self, kind: &str) -> bool {
        let state = self.work.stored().expect("state");
        state.resources().iter().any(|resource| resource.address.starts_with(kind) && resource.tainted)
    }

    /// Removes the state.
    pub(crate) fn forget_state(&self) {
        self.work.forget_state().expect("removed");
    }
}

async fn working_directory(farm: &Farm, core: Core, fixture: Fixture) -> (WorkingDirectory, TempDir) {
    let directory = tempfile::tempdir().expect("directory");
    let work = working_directory::with_fixtures(&["provider.tf", fixture.file()], farm, core, directory.path(), None);
    farm::image::copy(&Path::new(FIXTURES).join("image"), &work.path().join("image")).expect("image");
    work.init().await.expect("init");
    (work, directory)
}

/// Returns the simulated Proxmox VE of a farm.
pub(crate) fn simulated(farm: &Farm) -> &SimulatedPve {
    farm.simulated_pve
        .as_ref()
        .expect("these tests need the simulator's faults and counts: unset PXCI_ACC_PVE_ENDPOINT")
}
