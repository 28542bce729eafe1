# The provider is mocked, so nothing is made. Run `tofu test` or `terraform test` in the module's directory.

mock_provider "pxci" {
  mock_resource "pxci_dispatcher_lxc" {
    defaults = {
      vmid              = 9050
      appliance_version = "0.1.0"
    }
  }
}

variables {
  node             = "pve1"
  resource_pool    = "pxci-control"
  pve_token_id     = "pxci-dispatcher@pve!farm"
  pve_token_secret = "00000000-0000-4000-8000-000000000000"
  github_token     = "not-a-token"

  pools = {
    plain = {
      labels        = ["self-hosted", "linux"]
      repositories  = ["octo/app"]
      max           = 2
      vmid_range    = "9100-9199"
      resource_pool = "pxci-runners"
      family        = "plain"
      template_vmid = 9000
    }
  }
}

run "defaults" {
  command = plan

  assert {
    condition     = pxci_dispatcher_lxc.this.hostname == "pxci-dispatcher" && pxci_dispatcher_lxc.this.vmid_range == "9050-9059"
    error_message = "Host name and VMIDs have the documented defaults."
  }

  assert {
    condition     = pxci_dispatcher_lxc.this.pools["plain"].max == 2 && pxci_dispatcher_lxc.this.pools["plain"].cores == null
    error_message = "Pools arrive as they are given; what is left out stays out."
  }

  assert {
    condition     = pxci_dispatcher_lxc.this.github.api_url == "https://api.github.com"
    error_message = "GitHub is github.com unless another is named."
  }

  assert {
    condition     = pxci_dispatcher_lxc.this.pve.endpoints == null
    error_message = "PVE is reached as the provider reaches it unless other addresses are named."
  }
}

run "outputs" {
  command = apply

  assert {
    condition     = output.vmid == 9050 && output.appliance_version == "0.1.0"
    error_message = "The outputs have the container's VMID and the dispatcher's version."
  }
}

run "secrets" {
  command = apply

  variables {
    secrets_version = 2
  }

  assert {
    condition     = pxci_dispatcher_lxc.this.github_token_wo == null && pxci_dispatcher_lxc.this.pve_token_secret_wo == null
    error_message = "Secrets are not kept."
  }

  assert {
    condition     = pxci_dispatcher_lxc.this.github_token_wo_version == 2 && pxci_dispatcher_lxc.this.pve_token_secret_wo_version == 2
    error_message = "One version stands for both secrets."
  }
}
