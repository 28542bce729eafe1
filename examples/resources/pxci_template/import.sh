tofu import pxci_template.ubuntu_2204 ubuntu-2204
