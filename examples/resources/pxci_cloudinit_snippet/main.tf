resource "pxci_cloudinit_snippet" "runner" {
  name    = "runner"
  storage = "local"

  user_data = <<-EOT
    #cloud-config
    timezone: Etc/UTC
    write_files:
      - path: /etc/motd
        content: "One job, then gone.\n"
  EOT

  lifecycle {
    create_before_destroy = true
  }
}
