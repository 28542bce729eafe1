tofu import pxci_cloudinit_snippet.runner pve1/local:iso/pxci-runner-0123456789abcdef.iso
