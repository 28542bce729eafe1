//! Whatever is wrong from the start ends in one diagnostic that says what to do, with nothing in the state and nothing
//! left behind.

use std::net::TcpListener;

use crate::lab::with_each_core;

/// An address of this machine at which nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens() {
    with_each_core("snippet.tf", async |lab| {
        let endpoint = format!("https://{}", nobody());
        lab.provider_block(&format!("endpoint = \"{endpoint}\""));
        let problem = lab.refused("apply").await;
        problem.says(&["cannot be reached", &endpoint, "Check that `endpoint` is right", "port 8006"]);
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_is_something_else() {
    with_each_core("snippet.tf", async |lab| {
        // It speaks TLS, and answers in JSON.
        let endpoint = lab.farm.github.api_url.replace("http://", "https://");
        lab.provider_block(&format!("endpoint = \"{endpoint}\""));
        lab.environment("PXCI_CA_FILE", "");
        lab.environment("PROXMOX_VERIFY_SSL", "0");
        lab.refused("apply").await.says(&["not a Proxmox VE API", "Check `endpoint`"]);
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_without_tls() {
    with_each_core("snippet.tf", async |lab| {
        let endpoint = lab.farm.pve.endpoint.clone();
        let plain = endpoint.replace("https://", "http://");
        lab.provider_block(&format!("endpoint = \"{plain}\""));
        lab.refused("apply").await.says(&[&endpoint]).points_at("endpoint");
        assert_eq!(lab.calls(), [""; 0]);
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn a_wrong_token() {
    with_each_core("snippet.tf", async |lab| {
        lab.environment("PXCI_TOKEN_SECRET", "00000000-0000-4000-8000-000000000000");
        let problem = lab.refused("apply").await;
        problem.says(&["401", "Check `token_id` (user@realm!name) and `token_secret`"]);
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn no_token_at_all() {
    with_each_core("snippet.tf", async |lab| {
        lab.environment("PXCI_TOKEN_SECRET", "");
        lab.refused("apply").await.says(&["`token_secret`", "PXCI_TOKEN_SECRET", "docs/privileges.md"]);
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn an_untrusted_certificate_which_can_be_pinned() {
    with_each_core("snippet.tf", async |lab| {
        lab.environment("PXCI_CA_FILE", "");
        let problem = lab.refused("apply").await;
        problem.says(&["is not trusted", "ca_certificate", "/etc/pve/pve-root-ca.pem"]);
        lab.is_as_before().await;

        let pin = problem.detail.split("fingerprint = \"").nth(1).and_then(|rest| rest.split('"').next());
        let pin = pin.expect("it prints the fingerprint to pin");
        lab.provider_block(&format!("fingerprint = \"{pin}\""));
        lab.work.apply().await.expect("the pinned certificate is trusted");
        lab.work.destroy().await.expect("destroy");
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn a_storage_without_the_content_type() {
    let cases: [(&str, &str, &str, &[&str]); 5] = [
        ("snippet.tf", "storage", "local-lvm", &["\"local-lvm\"", "images, rootdir", "ISO image"]),
        ("template.tf", "iso_storage", "local-lvm", &["\"local-lvm\"", "images, rootdir", "`iso`"]),
        ("template.tf", "vm_storage", "local", &["\"local\"", "iso, vztmpl", "`images`"]),
        ("dispatcher.tf", "template_storage", "local-lvm", &["\"local-lvm\"", "`vztmpl`"]),
        ("dispatcher.tf", "storage", "local", &["\"local\"", "`rootdir`"]),
    ];
    for (fixture, attribute, storage, words) in cases {
        with_each_core(fixture, async |lab| {
            lab.stub_packer("exit 1");
            lab.stub_appliance();
            lab.set(attribute, storage);
            let problem = lab.refused("plan").await;
            problem.says(words).says(&["Datacenter, Storage, Edit, Content", "another storage"]).points_at(attribute);
            lab.is_as_before().await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_unknown_storage() {
    for (fixture, attribute) in
        [("snippet.tf", "storage"), ("template.tf", "iso_storage"), ("dispatcher.tf", "storage")]
    {
        with_each_core(fixture, async |lab| {
            lab.stub_packer("exit 1");
            lab.stub_appliance();
            lab.set(attribute, "nope");
            lab.refused("plan")
                .await
                .says(&["\"nope\"", "there is no such storage: check its name"])
                .points_at(attribute);
            lab.is_as_before().await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_unknown_node() {
    for fixture in ["snippet.tf", "runner_vm.tf", "template.tf", "dispatcher.tf"] {
        with_each_core(fixture, async |lab| {
            lab.stub_packer("exit 1");
            lab.stub_appliance();
            lab.template(9000).await;
            lab.set("node", "nope");
            lab.refused("plan").await.says(&["nope", "Check `node`"]);
            lab.is_as_before().await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_missing_privilege() {
    // What each type needs; without it, and named with its path.
    let cases = [
        ("snippet.tf", "/storage/local", "PxciImages", "Datastore.AllocateTemplate"),
        ("runner_vm.tf", "/vms/9000", "PxciProvider", "VM.Clone"),
        ("runner_vm.tf", "/vms/9090", "PxciProvider", "VM.Config.Options"),
        ("dispatcher.tf", "/storage/local", "PxciImages", "Datastore.AllocateTemplate"),
    ];
    for (fixture, path, role, privilege) in cases {
        with_each_core(fixture, async |lab| {
            lab.stub_appliance();
            lab.template(9000).await;
            lab.administrator.revoke(role, privilege).await;
            let problem = lab.refused("apply").await;
            problem.says(&[path, privilege, "pveum acl modify", "docs/privileges.md", &lab.farm.pve.provider.id]);
            if path.starts_with("/vms/") {
                problem.says(&["pveum acl modify /pool/NAME", "not on the one VMID"]);
            }
            lab.is_as_before().await;
        })
        .await;
    }
}

#[tokio::test]
async fn invalid_cloud_config() {
    let cases = [
        ("#cloud-config\npakages: [git]\n", "pakages"),
        ("packages: [git]\n", "#cloud-config"),
        ("#cloud-config\npackages: [git\n", "line"),
    ];
    for (user_data, word) in cases {
        with_each_core("snippet.tf", async |lab| {
            lab.set("user_data", user_data);
            lab.refused("plan").await.says(&["Invalid cloud-init data", word]).points_at("user_data");
            lab.is_as_before().await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_missing_packer() {
    with_each_core("template.tf", async |lab| {
        lab.set("packer_path", "/nonexistent/packer");
        let problem = lab.refused("plan").await;
        problem
            .says(&["Unable to use Packer", "/nonexistent/packer", "apt-get install packer"])
            .points_at("packer_path");
        lab.is_as_before().await;
    })
    .await;
}

#[tokio::test]
async fn a_full_vmid_range() {
    with_each_core("runner_vm.tf", async |lab| {
        lab.template(9000).await;
        lab.set("vmid_range", "9000-9000");
        lab.refused("apply").await.says(&["9000-9000", "is taken", "Widen the range"]);
        lab.is_as_before().await;
    })
    .await;
    with_each_core("dispatcher.tf", async |lab| {
        lab.template(8100).await;
        lab.stub_appliance();
        lab.set("vmid_range", "8100-8100");
        lab.refused("apply").await.says(&["8100-8100", "is taken", "widen the range"]);
        lab.is_as_before().await;
    })
    .await;
    with_each_core("template.tf", async |lab| {
        lab.stub_packer("exit 1");
        lab.template(9000).await;
        lab.set("vmid_range", "9000-9000");
        lab.refused("apply").await.says(&["9000-9000", "is taken", "Widen the range"]);
        lab.is_as_before().await;
    })
    .await;
}
