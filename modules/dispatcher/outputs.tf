output "vmid" {
  description = "VMID of the dispatcher's container."
  value       = pxci_dispatcher_lxc.this.vmid
}

output "appliance_version" {
  description = "Version of the dispatcher that the container runs."
  value       = pxci_dispatcher_lxc.this.appliance_version
}
