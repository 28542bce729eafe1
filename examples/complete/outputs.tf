output "template" {
  description = "The current template version."
  value       = module.ubuntu_2204.template
}

output "dispatcher_vmid" {
  description = "The dispatcher's container."
  value       = module.dispatcher.vmid
}
