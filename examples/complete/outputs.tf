output "template" {
  description = "Current template version."
  value       = module.ubuntu_2204.template
}

output "dispatcher_vmid" {
  description = "Container of the dispatcher."
  value       = module.dispatcher.vmid
}
