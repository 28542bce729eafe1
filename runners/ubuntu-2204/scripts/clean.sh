#!/bin/bash
# Removes files that must differ between clones, and files that the installer left.
set -euo pipefail
shopt -s nullglob

# These services would write some of the files again. Without a service manager, they do not run.
if [ -d /run/systemd/system ]; then
  systemctl stop rsyslog.service cron.service systemd-random-seed.service
fi

# Network configuration and data source that the installer set for the first boot.
rm -f /etc/netplan/00-installer-config*.yaml /etc/netplan/50-cloud-init.yaml /etc/cloud/ds-identify.cfg \
  /etc/cloud/cloud.cfg.d/99-installer.cfg /etc/cloud/cloud.cfg.d/90-installer-network.cfg \
  /etc/cloud/cloud.cfg.d/curtin-preserve-sources.cfg /etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg
cloud-init clean --logs --seed

# The file is empty, not missing, because systemd fills an empty file at the next boot.
: >/etc/machine-id
install -d -m 755 /var/lib/dbus
ln -sfn /etc/machine-id /var/lib/dbus/machine-id
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
rm -rf /var/lib/dhcp/* /var/lib/NetworkManager/* /run/systemd/netif/leases/*

apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/journal/* /var/log/installer /var/crash/* /var/tmp/*
find /var/log -type f -exec truncate --size 0 {} +
rm -f /root/.bash_history /home/*/.bash_history /root/.wget-hsts

# Returns the freed blocks to the storage, if the disk supports it.
fstrim --all || echo "fstrim: not supported here"
sync
