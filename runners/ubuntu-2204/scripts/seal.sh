#!/bin/bash
# The last step of the image: locks the account that the provisioners used, and removes their files.
set -euo pipefail
: "${BUILD_ACCOUNT:?}"

home=$(getent passwd "$BUILD_ACCOUNT" | cut -d: -f6)
rm -rf /tmp/pxci-image "$home/.ssh" "$home/.sudo_as_admin_successful"
rm -f /etc/sudoers.d/pxci-build /etc/sudoers.d/90-cloud-init-users
usermod --password '!' --expiredate 1 "$BUILD_ACCOUNT"
if id --name --groups "$BUILD_ACCOUNT" | grep -qw sudo; then
  gpasswd --delete "$BUILD_ACCOUNT" sudo >/dev/null
fi

# Only the rule for the runner may be left.
left=$(find /etc/sudoers.d -type f ! -name README ! -name runner)
if [ -n "$left" ]; then
  echo "seal: unexpected sudo rules: $left" >&2
  exit 1
fi
sync
