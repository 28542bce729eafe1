variable "node" {
  description = "Node that runs the container."
  type        = string
}

variable "hostname" {
  description = "Host name of the container."
  type        = string
  default     = "pxci-dispatcher"
}

variable "vmids" {
  description = "Range of VMIDs for the container, as `first-last`. An upgrade needs a second VMID for a few seconds."
  type        = string
  default     = "9050-9059"
}

variable "resource_pool" {
  description = "PVE resource pool of the container. Keep it apart from the runners' pool, so that the dispatcher's own token cannot touch it."
  type        = string
}

variable "storage" {
  description = "Storage for the container's root file system and its state volume."
  type        = string
  default     = "local-lvm"
}

variable "template_storage" {
  description = "Storage with content type `vztmpl`."
  type        = string
  default     = "local"
}

variable "bridge" {
  description = "Bridge of the container's network card."
  type        = string
  default     = "vmbr0"
}

variable "pve_endpoints" {
  description = "Addresses of PVE's API that the container can reach. Default: those of the provider."
  type        = list(string)
  default     = null
}

variable "pve_token_id" {
  description = "API token that the dispatcher uses, as `user@realm!name`."
  type        = string
}

variable "pve_token_secret" {
  description = "Secret of that token. It is not stored in the state."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "github_token" {
  description = "GitHub token that may list jobs and manage runners of the pools' repositories. It is not stored in the state."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "secrets_version" {
  description = "Version of the secrets. Raise it when a secret changes, because the core does not store secrets and cannot compare them."
  type        = number
  default     = 1
}

variable "github_api_url" {
  description = "Base URL of GitHub's REST API."
  type        = string
  default     = "https://api.github.com"
}

variable "github_ca_certificate" {
  description = "Certificates of GitHub's private certificate authority in PEM form."
  type        = string
  default     = null
}

variable "poll_interval" {
  description = "Seconds between two polls for queued jobs."
  type        = number
  default     = 15
}

variable "pools" {
  description = "Runner pools by name, as in the `pool` outputs of the flavour modules."
  type = map(object({
    labels        = list(string)
    repositories  = list(string)
    max           = number
    vmid_range    = string
    resource_pool = string
    family        = string
    template_vmid = number
    seed_iso      = optional(string)
    cores         = optional(number)
    memory        = optional(number)
    job_limit     = optional(number)
  }))
}
