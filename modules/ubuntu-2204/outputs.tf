output "template" {
  description = "Current version of the flavour's template."
  value = {
    vmid    = pxci_template.this.vmid
    version = pxci_template.this.version
    name    = pxci_template.this.template_name
  }
}

output "seed_iso" {
  description = "Volume id of the seed ISO of all runner VMs of the flavour."
  value       = pxci_cloudinit_snippet.this.volid
}

output "pool" {
  description = "Runner pool of the flavour, for `pools` of the dispatcher module."
  value = {
    labels        = var.labels
    repositories  = var.repositories
    max           = var.max
    vmid_range    = var.runner_vmids
    resource_pool = var.resource_pool
    family        = pxci_template.this.family
    template_vmid = pxci_template.this.vmid
    seed_iso      = pxci_cloudinit_snippet.this.volid
    cores         = var.cores
    memory        = var.memory
    job_limit     = var.job_limit
  }
}
