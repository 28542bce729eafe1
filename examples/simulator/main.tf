# A runner VM on the simulators that `cargo xtask sim --provider` starts. docs/simulators.md describes how.

terraform {
  required_version = ">= 1.11"

  required_providers {
    pxci = {
      source  = "pxci/pxci"
      version = ">= 0.1.0"
    }
  }
}

# Endpoint, token, certificate and node come from the environment.
provider "pxci" {
  installation = "play"
}

resource "pxci_cloudinit_snippet" "hello" {
  name    = "hello"
  storage = "local"

  user_data = <<-EOT
    #cloud-config
    timezone: Etc/UTC
  EOT
}

resource "pxci_runner_vm" "first" {
  name          = "first"
  resource_pool = "pxci-runners"
  vmid_range    = "9000-9099"
  template_vmid = 8000
  seed_iso      = pxci_cloudinit_snippet.hello.volid
  cores         = 2
  memory        = 2048
}
