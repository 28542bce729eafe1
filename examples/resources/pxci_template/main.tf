resource "pxci_template" "ubuntu_2204" {
  family        = "ubuntu-2204"
  resource_pool = "pxci-runners"
  vmid_range    = "9000-9049"

  directory      = "${path.module}/runners/ubuntu-2204"
  runner_version = "latest"
  keep_versions  = 2

  vm_storage  = "local-lvm"
  iso_storage = "local"
  bridge      = "vmbr0"

  variables = {
    disk_size = "40G"
  }
}
