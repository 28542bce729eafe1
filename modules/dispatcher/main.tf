resource "pxci_dispatcher_lxc" "this" {
  node             = var.node
  hostname         = var.hostname
  vmid_range       = var.vmids
  resource_pool    = var.resource_pool
  storage          = var.storage
  template_storage = var.template_storage
  network          = { bridge = var.bridge }

  pve                         = { endpoints = var.pve_endpoints, token_id = var.pve_token_id }
  pve_token_secret_wo         = var.pve_token_secret
  pve_token_secret_wo_version = var.secrets_version

  github                  = { api_url = var.github_api_url, ca_certificate = var.github_ca_certificate }
  github_token_wo         = var.github_token
  github_token_wo_version = var.secrets_version

  poll_interval = var.poll_interval
  pools         = var.pools
}
