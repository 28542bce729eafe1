#!/bin/bash
# Makes a clone boot fast: no services that update, probe or wait.
set -euo pipefail

mask=(
  apt-daily.service apt-daily.timer apt-daily-upgrade.service apt-daily-upgrade.timer unattended-upgrades.service
  e2scrub_all.timer e2scrub_reap.service fwupd-refresh.timer fwupd.service man-db.timer ModemManager.service
  motd-news.timer multipathd.service multipathd.socket snapd.seeded.service systemd-networkd-wait-online.service
)
for unit in "${mask[@]}"; do
  if [ -e "/lib/systemd/system/$unit" ]; then
    systemctl mask "$unit"
  fi
done
# Nobody logs in to a runner. If you need to, enable this service with cloud-init.
systemctl disable ssh.service

if [ -d /etc/default/grub.d ] && command -v update-grub >/dev/null; then
  printf 'GRUB_TIMEOUT=0\nGRUB_RECORDFAIL_TIMEOUT=0\n' >/etc/default/grub.d/99-pxci.cfg
  update-grub
fi

readonly files=/tmp/pxci-image/files
install -d -m 755 /etc/netplan /etc/cloud/cloud.cfg.d
install -o root -g root -m 600 "$files/netplan/99-pxci.yaml" /etc/netplan/
install -o root -g root -m 644 "$files/cloud.cfg.d/99-pxci.cfg" /etc/cloud/cloud.cfg.d/
