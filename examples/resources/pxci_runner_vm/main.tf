resource "pxci_runner_vm" "by_hand" {
  name          = "by-hand"
  resource_pool = "pxci-runners"
  vmid_range    = "9090-9099"
  template_vmid = pxci_template.ubuntu_2204.vmid
  seed_iso      = pxci_cloudinit_snippet.runner.volid
  cores         = 4
  memory        = 8192
}
