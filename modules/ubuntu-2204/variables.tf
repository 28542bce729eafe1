variable "name" {
  description = "Name of the flavour's runner pool, which is a part of every runner's name."
  type        = string
  default     = "ubuntu-2204"
}

variable "trust" {
  description = "Origin of the jobs that the pool runs. `private`: no jobs that a fork caused. `public`: also pull requests from forks, but no `pull_request_target` and `workflow_run` jobs, which can read the repository's secrets."
  type        = string
  default     = "private"
  nullable    = false

  validation {
    condition     = contains(["private", "public"], var.trust)
    error_message = "The trust must be \"private\" or \"public\"."
  }
}

variable "node" {
  description = "Node that holds the template and runs the VMs."
  type        = string
}

variable "resource_pool" {
  description = "PVE resource pool of the template and the runner VMs. Guests outside of it are never destroyed."
  type        = string
}

variable "vm_storage" {
  description = "Storage for disks. It must support linked clones."
  type        = string
  default     = "local-lvm"
}

variable "iso_storage" {
  description = "Storage with content type `iso`, for installation media and cloud-init data."
  type        = string
  default     = "local"
}

variable "bridge" {
  description = "Bridge of the VMs' network card."
  type        = string
  default     = "vmbr0"
}

variable "template_vmids" {
  description = "Range of VMIDs for template versions, as `first-last`."
  type        = string
  default     = "9000-9049"
}

variable "runner_vmids" {
  description = "Range of VMIDs for runner VMs, as `first-last`. Its size is a hard limit."
  type        = string
  default     = "9100-9199"
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
  description = "Secret variables for the image's Packer template. They are not stored in the state."
  type        = map(string)
  default     = {}
  sensitive   = true
  ephemeral   = true
}

variable "image_secrets_version" {
  description = "Version of `image_secrets`. Raise it when they change, because the core does not store secrets and cannot compare them."
  type        = number
  default     = 1
}

variable "runner_version" {
  description = "Version of GitHub's runner program, or `latest`, which is resolved when a version of the image is built."
  type        = string
  default     = "latest"
}

variable "github_api_url" {
  description = "Base URL of the REST API that has the runner program's newest version and checksum."
  type        = string
  default     = "https://api.github.com"
}

variable "keep_versions" {
  description = "Number of template versions to keep."
  type        = number
  default     = 2
}

variable "cores" {
  description = "Number of CPU cores of a runner VM."
  type        = number
  default     = 2
}

variable "memory" {
  description = "Memory of a runner VM in MiB."
  type        = number
  default     = 8192
}

variable "labels" {
  description = "Labels of the runners. The pool runs a job if it has all labels of the job's `runs-on`."
  type        = list(string)
  default     = ["self-hosted", "linux", "x64", "ubuntu-22.04"]
}

variable "repositories" {
  description = "Repositories whose jobs the pool runs, as `owner/name`."
  type        = list(string)
}

variable "max" {
  description = "Largest number of runner VMs at the same time."
  type        = number
  default     = 4
}

variable "job_limit" {
  description = "Longest time of a job in seconds. After that, its VM is destroyed."
  type        = number
  default     = 21600
}
