tofu import pxci_dispatcher_lxc.farm pve1/9050
