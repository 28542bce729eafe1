use super::{Problem, check_network_config, check_user_data};

fn only(text: &str) -> Problem {
    let mut problems = check_user_data(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

#[test]
fn an_ordinary_cloud_config_passes() {
    let text = "#cloud-config\nssh_pwauth: no\npackage_update: yes\npackages: [git, [curl, 7.88.1]]\nusers:\n  - default\n  - name: ci\n    sudo: ALL=(ALL) NOPASSWD:ALL\n    lock_passwd: off\n\
                write_files:\n  - path: /etc/x\n    permissions: '0644'\n    content: |\n      hello\nruncmd:\n  - [systemctl, start, x]\n  - echo done\n";
    assert_eq!(check_user_data(text), vec![]);
}

#[test]
fn a_misspelt_key_is_reported_with_its_line_and_the_right_key() {
    let problem = only("#cloud-config\npackages:\n  - git\nruncdm:\n  - echo\n");
    assert_eq!((problem.line, problem.path.as_str()), (4, "runcdm"));
    assert!(problem.message.contains("`runcmd`"), "{problem}");
}

#[test]
fn a_wrong_type_deep_inside_is_named_with_its_line_and_path() {
    let problem =
        check_user_data("#cloud-config\nwrite_files:\n  - path: /a\n  - path: /b\n    append: maybe\n").remove(0);
    assert_eq!((problem.line, problem.path.as_str()), (5, "write_files[1].append"), "{problem}");
}

#[test]
fn unquoted_octal_permissions_are_read_as_the_number_that_cloud_init_reads() {
    let problem = check_user_data("#cloud-config\nwrite_files:\n  - path: /a\n    permissions: 0644\n").remove(0);
    assert_eq!((problem.line, problem.path.as_str()), (4, "write_files[0].permissions"), "{problem}");
    assert!(problem.message.contains("420"), "{problem}");
}

#[test]
fn a_syntax_error_in_yaml_is_reported_with_its_line() {
    let problem = only("#cloud-config\nusers:\n  - name: \"ci\n");
    assert!(problem.line >= 3, "{problem:?}");
}

#[test]
fn a_duplicate_key_is_a_problem() {
    let problem = only("#cloud-config\nhostname: a\nhostname: b\n");
    assert_eq!(problem.line, 3, "{problem:?}");
}

#[test]
fn a_first_line_with_a_small_mistake_is_explained() {
    for first in ["# cloud-config", "#cloud_config", "#Cloud-Config", "", "hostname: x"] {
        let problem = only(&format!("{first}\nhostname: x\n"));
        assert!(problem.line == 1 && problem.message.contains("#cloud-config"), "{problem}");
    }
}

#[test]
fn scripts_and_multipart_pass() {
    assert_eq!(check_user_data("#!/bin/sh\nanything: [\n"), vec![]);
    let multipart = "Content-Type: multipart/mixed; boundary=\"B1\"\nMIME-Version: 1.0\n\n--B1\nContent-Type: text/cloud-config\n\n#cloud-config\nhostname: x\n--B1--\n";
    assert_eq!(check_user_data(multipart), vec![]);
    let cut = multipart.replace("--B1--", "");
    assert!(only(&cut).message.contains("--B1--"));
}

#[test]
fn keys_of_newer_releases_pass() {
    assert_eq!(check_user_data("#cloud-config\nrpi:\n  enable_ssh: true\n"), vec![]);
}

#[test]
fn network_config_of_both_versions_is_checked() {
    assert_eq!(
        check_network_config("version: 2\nethernets:\n  all:\n    match: {driver: virtio_net}\n    dhcp4: true\n"),
        vec![]
    );
    assert_eq!(check_network_config("version: 1\nconfig:\n  - type: physical\n    name: eth0\n"), vec![]);
    let problem = check_network_config("network:\n  version: 2\n  ethernet: {}\n").remove(0);
    assert_eq!((problem.line, problem.path.as_str()), (3, "network.ethernet"), "{problem}");
    assert!(check_network_config("ethernets: {}\n")[0].message.contains("version"));
}
