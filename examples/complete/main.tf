# A farm with one runner flavour: template, cloud-init data, one runner VM by hand, and the dispatcher.

terraform {
  required_version = ">= 1.11"

  required_providers {
    pxci = {
      source  = "pxci/pxci"
      version = ">= 0.1.0"
    }
  }
}

# Endpoint, token and certificate come from PXCI_ENDPOINT, PXCI_TOKEN_ID, PXCI_TOKEN_SECRET and PXCI_CA_FILE.
provider "pxci" {
  installation = "demo"
}

module "ubuntu_2204" {
  source = "../../modules/ubuntu-2204"

  node          = var.node
  resource_pool = "pxci-runners"
  vm_storage    = var.vm_storage
  iso_storage   = var.iso_storage
  bridge        = var.bridge
  repositories  = [var.repository]
  max           = 2
  memory        = 4096

  github_api_url  = var.github_api_url
  image_directory = var.image_directory
  image_variables = var.image_variables
  image_secrets   = var.image_secrets
}

# A runner VM without a dispatcher, to try the image or to start a job by hand.
resource "pxci_runner_vm" "by_hand" {
  name          = "by-hand"
  node          = var.node
  resource_pool = "pxci-runners"
  vmid_range    = "9090-9099"
  template_vmid = module.ubuntu_2204.template.vmid
  seed_iso      = module.ubuntu_2204.seed_iso
  cores         = 2
  memory        = 2048
}

module "dispatcher" {
  source = "../../modules/dispatcher"

  node             = var.node
  resource_pool    = "pxci-control"
  storage          = var.vm_storage
  template_storage = var.iso_storage
  bridge           = var.bridge

  pve_endpoints         = var.dispatcher_pve_endpoints
  pve_token_id          = var.dispatcher_token_id
  pve_token_secret      = var.dispatcher_token_secret
  github_token          = var.github_token
  github_api_url        = coalesce(var.dispatcher_github_api_url, var.github_api_url)
  github_ca_certificate = var.github_ca_certificate
  poll_interval         = var.poll_interval

  pools = { "ubuntu-2204" = module.ubuntu_2204.pool }
}
