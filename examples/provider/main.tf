terraform {
  required_providers {
    pxci = {
      source = "pxci/pxci"
    }
  }
}

# The token's name and secret come from PXCI_TOKEN_ID and PXCI_TOKEN_SECRET.
provider "pxci" {
  endpoint       = "https://pve1.example.net:8006"
  ca_certificate = file("pve-root-ca.pem")
  node           = "pve1"
  installation   = "farm"
}
