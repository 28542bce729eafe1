//! Wrong input ends in one diagnostic with advice. Nothing is in the state, and nothing is left in the farm.

use std::net::TcpListener;

use crate::lab::{Fixture, refused_with_each_core, with_each_core};

/// Returns a local address at which no server listens.
fn unused_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

#[tokio::test]
async fn an_endpoint_without_a_server() {
    refused_with_each_core(Fixture::Snippet, async |lab| {
        let endpoint = format!("https://{}", unused_address());
        lab.provider_block(&format!("endpoint = \"{endpoint}\""));
        let problem = lab.refused("apply").await;
        problem.says(&["cannot be reached", &endpoint, "Check that `endpoint` is right", "port 8006"]);
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_of_another_service() {
    refused_with_each_core(Fixture::Snippet, async |lab| {
        // The simulated GitHub speaks TLS and answers in JSON.
        let endpoint = lab.farm.github.api_url.replace("http://", "https://");
        lab.provider_block(&format!("endpoint = \"{endpoint}\""));
        lab.environment("PXCI_CA_FILE", "");
        lab.environment("PROXMOX_VERIFY_SSL", "0");
        lab.refused("apply").await.says(&["not a Proxmox VE API", "Check `endpoint`"]);
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_without_tls() {
    refused_with_each_core(Fixture::Snippet, async |lab| {
        let endpoint = lab.farm.pve.endpoint.clone();
        let plain = endpoint.replace("https://", "http://");
        lab.provider_block(&format!("endpoint = \"{plain}\""));
        lab.refused("apply").await.says(&[&endpoint]).points_at("endpoint");
        assert_eq!(lab.calls(), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_token() {
    refused_with_each_core(Fixture::Snippet, async |lab| {
        lab.environment("PXCI_TOKEN_SECRET", "00000000-0000-4000-8000-000000000000");
        let problem = lab.refused("apply").await;
        problem.says(&["401", "Check `token_id` (user@realm!name) and `token_secret`"]);
    })
    .await;
}

#[tokio::test]
async fn a_missing_token() {
    refused_with_each_core(Fixture::Snippet, async |lab| {
        lab.environment("PXCI_TOKEN_SECRET", "");
        lab.refused("apply").await.says(&["`token_secret`", "PXCI_TOKEN_SECRET", "docs/privileges.md"]);
    })
    .await;
}

#[tokio::test]
async fn an_untrusted_certificate_that_can_be_pinned() {
    with_each_core(Fixture::Snippet, async |lab| {
        lab.environment("PXCI_CA_FILE", "");
        let problem = lab.refused("apply").await;
        problem.says(&["is not trusted", "ca_certificate", "/etc/pve/pve-root-ca.pem"]);
        lab.is_as_before().await;

        let pin = problem.detail.split("fingerprint = \"").nth(1).and_then(|rest| rest.split('"').next());
        let pin = pin.expect("it prints the fingerprint to pin");
        lab.provider_block(&format!("fingerprint = \"{pin}\""));
        lab.work.apply().await.expect("the pinned certificate is trusted");
    })
    .await;
}

#[tokio::test]
async fn a_storage_without_the_content_type() {
    let cases: [(Fixture, &str, &str, &[&str]); 5] = [
        (Fixture::Snippet, "storage", "local-lvm", &["\"local-lvm\"", "images, rootdir", "ISO image"]),
        (Fixture::Template, "iso_storage", "local-lvm", &["\"local-lvm\"", "images, rootdir", "`iso`"]),
        (Fixture::Template, "vm_storage", "local", &["\"local\"", "iso, vztmpl", "`images`"]),
        (Fixture::Dispatcher, "template_storage", "local-lvm", &["\"local-lvm\"", "`vztmpl`"]),
        (Fixture::Dispatcher, "storage", "local", &["\"local\"", "`rootdir`"]),
    ];
    for (fixture, attribute, storage, words) in cases {
        refused_with_each_core(fixture, async |lab| {
            lab.set(attribute, storage);
            let problem = lab.refused("plan").await;
            problem.says(words).says(&["Datacenter, Storage, Edit, Content", "another storage"]).points_at(attribute);
        })
        .await;
    }
}

#[tokio::test]
async fn an_unknown_storage() {
    for (fixture, attribute) in
        [(Fixture::Snippet, "storage"), (Fixture::Template, "iso_storage"), (Fixture::Dispatcher, "storage")]
    {
        refused_with_each_core(fixture, async |lab| {
            lab.set(attribute, "nope");
            lab.refused("plan")
                .await
                .says(&["\"nope\"", "there is no such storage: check its name"])
                .points_at(attribute);
        })
        .await;
    }
}

#[tokio::test]
async fn an_unknown_node() {
    for fixture in [Fixture::Snippet, Fixture::RunnerVm, Fixture::Template, Fixture::Dispatcher] {
        refused_with_each_core(fixture, async |lab| {
            lab.set("node", "nope");
            lab.refused("plan").await.says(&["nope", "Check `node`"]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_missing_privilege() {
    // A privilege that the type needs, with its path and role.
    let cases = [
        (Fixture::Snippet, "/storage/local", "PxciImages", "Datastore.AllocateTemplate"),
        (Fixture::RunnerVm, "/vms/9000", "PxciProvider", "VM.Clone"),
        (Fixture::RunnerVm, "/vms/9090", "PxciProvider", "VM.Config.Options"),
        (Fixture::Dispatcher, "/storage/local", "PxciImages", "Datastore.AllocateTemplate"),
    ];
    for (fixture, path, role, privilege) in cases {
        refused_with_each_core(fixture, async |lab| {
            lab.administrator.revoke(role, privilege).await;
            let problem = lab.refused("apply").await;
            problem.says(&[path, privilege, "pveum acl modify", "docs/privileges.md", &lab.farm.pve.provider.id]);
            if path.starts_with("/vms/") {
                problem.says(&["pveum acl modify /pool/NAME", "not on the VMID"]);
            }
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
        refused_with_each_core(Fixture::Snippet, async |lab| {
            lab.set("user_data", user_data);
            lab.refused("plan").await.says(&["Invalid cloud-init data", word]).points_at("user_data");
        })
        .await;
    }
}

#[tokio::test]
async fn a_missing_packer() {
    refused_with_each_core(Fixture::Template, async |lab| {
        lab.set("packer_path", "/nonexistent/packer");
        let problem = lab.refused("plan").await;
        problem
            .says(&["Unable to use Packer", "/nonexistent/packer", "apt-get install packer"])
            .points_at("packer_path");
    })
    .await;
}

#[tokio::test]
async fn a_full_vmid_range() {
    refused_with_each_core(Fixture::RunnerVm, async |lab| {
        lab.set("vmid_range", "9000-9000");
        lab.refused("apply").await.says(&["9000-9000", "is taken", "Widen the range"]);
    })
    .await;
    refused_with_each_core(Fixture::Dispatcher, async |lab| {
        lab.template(8100).await;
        lab.set("vmid_range", "8100-8100");
        lab.refused("apply").await.says(&["8100-8100", "is taken", "Widen the range"]);
    })
    .await;
    refused_with_each_core(Fixture::Template, async |lab| {
        lab.template(9000).await;
        lab.set("vmid_range", "9000-9000");
        lab.refused("apply").await.says(&["9000-9000", "is taken", "Widen the range"]);
    })
    .await;
}
