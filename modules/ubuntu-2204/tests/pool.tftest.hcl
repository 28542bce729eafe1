# The provider is mocked, so nothing is built. Run `tofu test` or `terraform test` in the module's directory.

mock_provider "pxci" {
  mock_resource "pxci_template" {
    defaults = {
      vmid          = 9001
      version       = 7
      template_name = "ubuntu-2204-20261101-abcdef01"
    }
  }

  mock_resource "pxci_cloudinit_snippet" {
    defaults = {
      volid = "local:iso/pxci-pxci_ubuntu-2204_k3x9ab_0123456789abcdef.iso"
    }
  }
}

variables {
  node          = "pve1"
  resource_pool = "pxci-runners"
  repositories  = ["octo/app"]

  # Terraform 1.11 passes an ephemeral variable to an apply only if it is set in the plan of the same run.
  image_secrets = {}
}

run "defaults" {
  command = plan

  assert {
    condition     = pxci_template.this.family == "ubuntu-2204" && pxci_template.this.node == "pve1"
    error_message = "The template's family is the flavour's name, on the flavour's node."
  }

  assert {
    condition     = endswith(pxci_template.this.directory, "runners/ubuntu-2204")
    error_message = "The image is the flavour's own."
  }

  assert {
    condition     = contains(pxci_template.this.ignore, "cloud-init/**")
    error_message = "Cloud-init data goes into the snippet, so it is not an input of the image."
  }

  assert {
    condition     = startswith(pxci_cloudinit_snippet.this.user_data, "#cloud-config")
    error_message = "The flavour's user-data is rendered."
  }

  assert {
    condition     = yamldecode(pxci_cloudinit_snippet.this.user_data).write_files[1].path == "/etc/pxci/trust" && trimspace(yamldecode(pxci_cloudinit_snippet.this.user_data).write_files[1].content) == "private"
    error_message = "A pool does not run jobs that a fork caused, unless it is declared public."
  }
}

run "pool_for_the_dispatcher" {
  command = apply

  assert {
    condition     = output.pool.template_vmid == 9001 && output.template.version == 7
    error_message = "The pool clones the current version."
  }

  assert {
    condition     = output.pool.seed_iso == output.seed_iso && output.pool.family == "ubuntu-2204"
    error_message = "The pool's VMs get the flavour's cloud-init data."
  }

  assert {
    condition     = output.pool.max == 4 && output.pool.job_limit == 21600 && contains(output.pool.labels, "ubuntu-22.04")
    error_message = "The pool has the documented defaults."
  }
}

run "public_pool" {
  command = plan

  variables {
    trust = "public"
  }

  assert {
    condition     = trimspace(yamldecode(pxci_cloudinit_snippet.this.user_data).write_files[1].content) == "public"
    error_message = "The trust reaches the VM by its user-data."
  }
}

run "unknown_trust" {
  command = plan

  variables {
    trust = "everybody"
  }

  expect_failures = [var.trust]
}

run "what_is_set_arrives" {
  command = apply

  variables {
    name            = "tiny"
    image_directory = "."
    runner_vmids    = "9500-9509"
    max             = 9
    cores           = 1
    memory          = 512
    labels          = ["self-hosted", "tiny"]
    image_secrets   = { password = "not-kept" }
  }

  assert {
    condition     = pxci_template.this.family == "tiny" && pxci_template.this.directory == "."
    error_message = "Name and image directory reach the template."
  }

  assert {
    condition     = output.pool.vmid_range == "9500-9509" && output.pool.max == 9 && output.pool.memory == 512
    error_message = "Limits reach the pool."
  }

  assert {
    condition     = pxci_template.this.secret_variables_wo == null
    error_message = "Secrets are not kept."
  }
}
