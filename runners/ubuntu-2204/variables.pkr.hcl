# pxci sets all of these variables. README.md says how to build by hand.

variable "proxmox_url" {
  type        = string
  description = "Address of the API, with its path: https://pve.example:8006/api2/json."
}

variable "proxmox_username" {
  type        = string
  description = "API token id, as in user@realm!name."
}

variable "proxmox_token" {
  type        = string
  description = "Secret of the API token."
  sensitive   = true
}

variable "proxmox_node" {
  type        = string
  description = "Node that the template is built on."
}

variable "resource_pool" {
  type        = string
  description = "PVE resource pool of the template."
}

variable "vm_id" {
  type        = number
  description = "VMID of the template."
}

variable "template_name" {
  type        = string
  description = "Name of the template."
}

variable "template_description" {
  type        = string
  description = "Description of the template. An empty one is not sent."
  default     = "Ubuntu 22.04 for GitHub Actions runners."
}

variable "storage_pool" {
  type        = string
  description = "Storage for the disk. It must support linked clones."
  default     = "local-lvm"
}

variable "iso_storage_pool" {
  type        = string
  description = "Storage with content type `iso`."
  default     = "local"
}

variable "iso_file" {
  type        = string
  description = "Volume id of an installer CD on a storage, as in local:iso/ubuntu-22.04.5-live-server-amd64.iso. Without it, the node downloads iso_url."
  default     = null
}

variable "iso_url" {
  type        = string
  description = "URL from which the node downloads the installer CD."
  default     = "https://releases.ubuntu.com/22.04.5/ubuntu-22.04.5-live-server-amd64.iso"
}

variable "iso_checksum" {
  type        = string
  description = "Checksum of the installer CD. With a checksum, a file that exists already is used again."
  default     = "sha256:9bc6028870aef3f74f4e16b900008179e78b130e6b0b9a140635434a46aa98b0"
}

variable "bridge" {
  type        = string
  description = "Bridge of the network card. The build needs a DHCP server, and access to Ubuntu's archives."
  default     = "vmbr0"
}

variable "cores" {
  type        = number
  description = "Number of CPU cores, during the build and as the default of clones."
  default     = 2
}

variable "memory" {
  type        = number
  description = "Memory in MiB."
  default     = 8192
}

variable "disk_size" {
  type        = string
  description = "Size of the disk, with its unit."
  default     = "40G"
}

variable "disk_format" {
  type        = string
  description = "Format of the disk: raw on block storages (LVM-thin, ZFS, Ceph), raw or qcow2 on directories. Proxmox VE makes linked clones of both. A linked clone of a raw image on a directory is a qcow2 file."
  default     = "raw"
}

variable "ssh_host" {
  type        = string
  description = "Address for the provisioners' SSH. Default: the address that the guest agent reports."
  default     = null
}

variable "ssh_port" {
  type        = number
  description = "Port for the provisioners' SSH."
  default     = 22
}

variable "ssh_username" {
  type        = string
  description = "Account that the installer creates for the provisioners. It is locked in the finished image."
  default     = "ci"
}

variable "ssh_password" {
  type        = string
  description = "Password of that account."
  sensitive   = true
}

variable "ssh_password_hash" {
  type        = string
  description = "Hash of the password, as `openssl passwd -6` prints it."
  sensitive   = true
}

variable "runner_version" {
  type        = string
  description = "Version of GitHub's runner program."
}

variable "runner_url" {
  type        = string
  description = "URL from which the guest downloads the runner program's archive."
}

variable "runner_sha256" {
  type        = string
  description = "SHA-256 of that archive, as GitHub publishes it."
}

variable "packages" {
  type        = list(string)
  description = "Debian packages of the image, in addition to those that it needs itself."
  default     = ["build-essential", "git", "python3", "unzip", "xz-utils", "zstd"]
}
