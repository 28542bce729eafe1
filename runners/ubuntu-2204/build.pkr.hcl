build {
  name    = "ubuntu-2204"
  sources = ["source.proxmox-iso.ubuntu-2204"]

  provisioner "shell" {
    inline = ["mkdir -p /tmp/pxci-image"]
  }

  provisioner "file" {
    source      = "${path.root}/files"
    destination = "/tmp/pxci-image"
  }

  provisioner "shell" {
    execute_command = "sudo -n env {{ .Vars }} bash '{{ .Path }}'"
    environment_vars = [
      "PACKAGES=${join(" ", var.packages)}",
      "RUNNER_VERSION=${var.runner_version}",
      "RUNNER_URL=${var.runner_url}",
      "RUNNER_SHA256=${var.runner_sha256}",
      "BUILD_ACCOUNT=${var.ssh_username}",
    ]
    scripts = [
      "${path.root}/scripts/packages.sh",
      "${path.root}/scripts/runner.sh",
      "${path.root}/scripts/services.sh",
      "${path.root}/scripts/clean.sh",
      "${path.root}/scripts/verify.sh",
    ]
  }

  # This script locks the account that runs it, so Packer cannot clean up afterwards.
  provisioner "shell" {
    execute_command  = "sudo -n env {{ .Vars }} bash '{{ .Path }}'"
    environment_vars = ["BUILD_ACCOUNT=${var.ssh_username}"]
    script           = "${path.root}/scripts/seal.sh"
    skip_clean       = true
  }
}
