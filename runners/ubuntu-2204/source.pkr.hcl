source "proxmox-iso" "ubuntu-2204" {
  proxmox_url = var.proxmox_url
  username    = var.proxmox_username
  token       = var.proxmox_token
  node        = var.proxmox_node
  pool        = var.resource_pool

  # Limit for each task of the API. The default of one minute is too short for the download of an ISO.
  task_timeout = "30m"

  vm_id                = var.vm_id
  vm_name              = var.template_name
  template_name        = var.template_name
  template_description = var.template_description

  os              = "l26"
  machine         = "q35"
  bios            = "seabios"
  cpu_type        = "x86-64-v2-AES"
  sockets         = 1
  cores           = var.cores
  memory          = var.memory
  scsi_controller = "virtio-scsi-single"
  qemu_agent      = true
  serials         = ["socket"]

  disks {
    type         = "scsi"
    storage_pool = var.storage_pool
    format       = var.disk_format
    disk_size    = var.disk_size
    io_thread    = true
    discard      = true
    ssd          = true
  }

  network_adapters {
    model    = "virtio"
    bridge   = var.bridge
    firewall = true
  }

  rng0 {
    source    = "/dev/urandom"
    max_bytes = 1024
    period    = 1000
  }

  # Both CDs are removed at the end, because a template with a CD in a drive cannot be cloned to another node.
  boot_iso {
    type             = "ide"
    index            = "2"
    iso_file         = var.iso_file
    iso_url          = var.iso_file == null ? var.iso_url : null
    iso_checksum     = var.iso_file == null ? var.iso_checksum : "none"
    iso_storage_pool = var.iso_storage_pool
    iso_download_pve = var.iso_file == null
    unmount          = true
  }

  # Seed data is on a CD, so the build VM needs no web server, and nobody can download the password hash.
  additional_iso_files {
    type             = "sata"
    index            = "1"
    iso_storage_pool = var.iso_storage_pool
    cd_label         = "cidata"
    cd_content = {
      "user-data" = templatefile("${path.root}/autoinstall/user-data.pkrtpl", {
        ssh_username      = var.ssh_username
        ssh_password_hash = var.ssh_password_hash
      })
      "meta-data" = templatefile("${path.root}/autoinstall/meta-data.pkrtpl", {
        instance_id = var.template_name
      })
    }
    unmount = true
  }

  # The keys for GRUB's console. The seed CD is found by its label, so the kernel needs only the word `autoinstall`.
  boot_wait         = "5s"
  boot_key_interval = "50ms"
  boot_command = [
    "c<wait2s>",
    "linux /casper/vmlinuz autoinstall ---<enter><wait2s>",
    "initrd /casper/initrd<enter><wait5s>",
    "boot<enter>",
  ]

  communicator           = "ssh"
  ssh_host               = var.ssh_host
  ssh_port               = var.ssh_port
  ssh_username           = var.ssh_username
  ssh_password           = var.ssh_password
  ssh_timeout            = "45m"
  ssh_handshake_attempts = 100
}
