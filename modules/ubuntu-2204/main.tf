resource "pxci_template" "this" {
  family        = var.name
  node          = var.node
  resource_pool = var.resource_pool
  vmid_range    = var.template_vmids

  directory      = coalesce(var.image_directory, "${path.module}/../../runners/ubuntu-2204")
  ignore         = ["README.md", "cloud-init/**"] # Cloud-init data is not a part of the image.
  runner_version = var.runner_version
  github_api_url = var.github_api_url
  keep_versions  = var.keep_versions

  vm_storage  = var.vm_storage
  iso_storage = var.iso_storage
  bridge      = var.bridge

  variables                   = var.image_variables
  secret_variables_wo         = var.image_secrets
  secret_variables_wo_version = var.image_secrets_version
}

resource "pxci_cloudinit_snippet" "this" {
  name    = var.name
  node    = var.node
  storage = var.iso_storage

  user_data = templatefile("${path.module}/../../runners/ubuntu-2204/cloud-init/runner-user-data.pkrtpl", {
    pool  = var.name
    trust = var.trust
  })

  # Pools use the old file until the dispatcher has the new one.
  lifecycle {
    create_before_destroy = true
  }
}
