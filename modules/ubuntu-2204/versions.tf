terraform {
  # Write-only arguments keep secrets out of the state.
  required_version = ">= 1.11"

  required_providers {
    pxci = {
      source  = "pxci/pxci"
      version = ">= 0.1.0"
    }
  }
}
