tofu import pxci_runner_vm.by_hand pve1/9090
