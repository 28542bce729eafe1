variable "github_token" {
  type      = string
  sensitive = true
  ephemeral = true
}

variable "dispatcher_token_secret" {
  type      = string
  sensitive = true
  ephemeral = true
}

resource "pxci_dispatcher_lxc" "farm" {
  hostname         = "pxci-dispatcher"
  vmid_range       = "9050-9059"
  resource_pool    = "pxci-control"
  storage          = "local-lvm"
  template_storage = "local"
  network          = { bridge = "vmbr0" }

  pve                         = { token_id = "pxci-dispatcher@pve!farm" }
  pve_token_secret_wo         = var.dispatcher_token_secret
  pve_token_secret_wo_version = 1
  github_token_wo             = var.github_token
  github_token_wo_version     = 1

  pools = {
    "ubuntu-2204" = {
      labels        = ["self-hosted", "linux", "x64", "ubuntu-22.04"]
      repositories  = ["acme/widgets"]
      max           = 8
      vmid_range    = "9100-9199"
      resource_pool = "pxci-runners"
      family        = pxci_template.ubuntu_2204.family
      template_vmid = pxci_template.ubuntu_2204.vmid
      seed_iso      = pxci_cloudinit_snippet.runner.volid

      # One failed VM may stay for two hours, so that a person can look at it.
      quarantine = { max = 1, keep_for = 7200 }
    }
  }
}
