//! The life of each type, from the first plan to the last destruction, as one table.

use serde_json::Value;

use crate::lab::{Lab, with_each_core};

/// What is the same for every type, in the words of one of them.
struct Lifecycle {
    fixture: &'static str,
    address: &'static str,
    /// What names the thing in PVE: kept by updates and imports, changed by replacements.
    identity: &'static str,
    /// Import id, from the attributes.
    import_id: fn(&Value) -> String,
    /// What the first plan after an import shows (docs/resources).
    after_import: &'static [&'static str],
    /// Variables that change it in place, and whether that keeps its identity.
    updates: &'static [(&'static str, &'static str, bool)],
    /// Variables that replace it.
    replacements: &'static [(&'static str, &'static str)],
    /// The call by which it is destroyed.
    deletion: &'static str,
}

impl Lifecycle {
    async fn run(&self, lab: &mut Lab, prepare: impl AsyncFn(&mut Lab), remove: impl AsyncFn(&Lab, &Value)) {
        prepare(lab).await;
        self.create(lab).await;
        self.import(lab).await;
        self.update(lab).await;
        self.replace(lab).await;
        self.vanish(lab, remove).await;
        self.destroy(lab).await;
        lab.is_as_before().await;
    }

    async fn create(&self, lab: &Lab) {
        assert_eq!(lab.changes(&[]).await, [format!("{}: create", self.address)]);
        lab.work.apply().await.expect("create");
        self.is_settled(lab).await;
    }

    /// Nothing to do, neither for what the state says nor for what PVE says.
    async fn is_settled(&self, lab: &Lab) {
        assert_eq!(lab.changes(&["-refresh=false"]).await, [""; 0], "without refresh");
        assert_eq!(lab.changes(&[]).await, [""; 0], "with refresh");
    }

    async fn identity(&self, lab: &Lab) -> Value {
        lab.attributes(self.address).await.expect("it is in the state")[self.identity].clone()
    }

    async fn import(&self, lab: &Lab) {
        let before = lab.attributes(self.address).await.expect("it is in the state");
        lab.forget_state();
        lab.succeed(&["import", "-no-color", self.address, &(self.import_id)(&before)]).await;
        let expected: Vec<String> =
            self.after_import.iter().map(|action| format!("{}: {action}", self.address)).collect();
        assert_eq!(lab.changes(&[]).await, expected, "after import");
        lab.work.apply().await.expect("apply after import");
        self.is_settled(lab).await;
        assert_eq!(self.identity(lab).await, before[self.identity], "the import made another one");
    }

    async fn update(&self, lab: &mut Lab) {
        for (variable, value, stays) in self.updates {
            let before = self.identity(lab).await;
            lab.set(variable, value);
            assert_eq!(lab.changes(&[]).await, [format!("{}: update", self.address)], "{variable}");
            lab.work.apply().await.expect("update");
            self.is_settled(lab).await;
            assert_eq!(self.identity(lab).await == before, *stays, "{variable}");
        }
    }

    async fn replace(&self, lab: &mut Lab) {
        for (variable, value) in self.replacements {
            lab.set(variable, value);
            assert_eq!(lab.changes(&[]).await, [format!("{}: delete+create", self.address)], "{variable}");
            lab.work.apply().await.expect("replacement");
            self.is_settled(lab).await;
        }
    }

    /// Somebody removes it behind our back.
    async fn vanish(&self, lab: &Lab, remove: impl AsyncFn(&Lab, &Value)) {
        remove(lab, &lab.attributes(self.address).await.expect("it is in the state")).await;
        assert_eq!(lab.changes(&[]).await, [format!("{}: create", self.address)], "after it vanished");
        lab.work.apply().await.expect("creation anew");
        self.is_settled(lab).await;
    }

    /// Fails once, and stays in the state; passes then.
    async fn destroy(&self, lab: &Lab) {
        lab.refuse("DELETE", self.deletion, "internal error");
        let identity = self.identity(lab).await;
        lab.refused("destroy").await.says(&["internal error"]);
        assert_eq!(self.identity(lab).await, identity, "what was not destroyed stays in the state");
        lab.work.destroy().await.expect("destroy");
        assert_eq!(lab.attributes(self.address).await, None);
    }
}

#[tokio::test]
async fn cloud_init_data() {
    let life = Lifecycle {
        fixture: "snippet.tf",
        address: "pxci_cloudinit_snippet.it",
        identity: "volid",
        import_id: |state| format!("pve1/{}", state["volid"].as_str().unwrap()),
        after_import: &["update"],
        updates: &[
            ("user_data", "#cloud-config\npackages: [git, curl]\n", false),
            ("network_config", "version: 2\nethernets: {}\n", false),
        ],
        replacements: &[("name", "other")],
        deletion: "/nodes/pve1/storage/local/content/*",
    };
    with_each_core(life.fixture, async |lab| {
        let remove = async |lab: &Lab, state: &Value| {
            let volid = state["volid"].as_str().unwrap();
            lab.administrator.task("DELETE", &format!("/nodes/pve1/storage/local/content/{volid}"), &[]).await;
        };
        life.run(lab, async |_| {}, remove).await;
    })
    .await;
}

#[tokio::test]
async fn a_runner_vm() {
    let life = Lifecycle {
        fixture: "runner_vm.tf",
        address: "pxci_runner_vm.it",
        identity: "vmid",
        import_id: |state| format!("pve1/{}/9090-9099", state["vmid"]),
        after_import: &[],
        updates: &[
            ("reap", "finished", true),
            ("started", "true", true),
            ("started", "false", true),
            ("vmid_range", "9090-9095", true),
        ],
        replacements: &[("name", "other"), ("cores", "2"), ("vmid_range", "9080-9085")],
        deletion: "/nodes/pve1/qemu/*",
    };
    with_each_core(life.fixture, async |lab| {
        let prepare = async |lab: &mut Lab| lab.template(9000).await;
        let remove =
            async |lab: &Lab, state: &Value| lab.administrator.destroy_vm(state["vmid"].as_u64().unwrap()).await;
        life.run(lab, prepare, remove).await;
    })
    .await;
}
