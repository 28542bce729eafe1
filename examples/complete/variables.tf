variable "node" {
  description = "Node that holds the farm."
  type        = string
}

variable "vm_storage" {
  description = "Storage for disks."
  type        = string
  default     = "local-lvm"
}

variable "iso_storage" {
  description = "Storage for ISO images and container templates."
  type        = string
  default     = "local"
}

variable "bridge" {
  description = "Bridge of all network cards."
  type        = string
  default     = "vmbr0"
}

variable "repository" {
  description = "Repository whose jobs the farm runs, as `owner/name`."
  type        = string
}

variable "github_api_url" {
  description = "Base URL of GitHub's REST API."
  type        = string
  default     = "https://api.github.com"
}

variable "dispatcher_github_api_url" {
  description = "Base URL of GitHub's REST API for the dispatcher's container, if it differs."
  type        = string
  default     = null
}

variable "github_ca_certificate" {
  description = "Certificates in PEM of the CA of GitHub's REST API, if it is not a public CA."
  type        = string
  default     = null
}

variable "dispatcher_pve_endpoints" {
  description = "Addresses of PVE's API that the dispatcher's container can reach. Default: those of the provider."
  type        = list(string)
  default     = null
}

variable "poll_interval" {
  description = "Seconds between two polls for queued jobs."
  type        = number
  default     = 15
}

variable "github_token" {
  description = "GitHub token of the dispatcher."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "dispatcher_token_id" {
  description = "PVE API token of the dispatcher, as `user@realm!name`."
  type        = string
}

variable "dispatcher_token_secret" {
  description = "Secret of the dispatcher's PVE API token."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "image_directory" {
  description = "Directory with the image's Packer template. Default: that of the flavour."
  type        = string
  default     = null
}

variable "image_variables" {
  description = "Further variables for the image's Packer template."
  type        = map(string)
  default     = {}
}

variable "image_secrets" {
  description = "Secret variables for the image's Packer template."
  type        = map(string)
  default     = {}
  sensitive   = true
  ephemeral   = true
}
