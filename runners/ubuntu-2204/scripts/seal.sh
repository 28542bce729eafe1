#!/bin/bash
# The last thing in the image: closes the account that the provisioners used, and removes what they brought.
set -euo pipefail
: "${BUILD_ACCOUNT:?}"

home=$(getent passwd "$BUILD_ACCOUNT" | cut -d: -f6)
rm -rf /tmp/pxci-image "$home/.ssh" "$home/.sudo_as_admin_successful"
rm -f /etc/sudoers.d/pxci-build /etc/sudoers.d/90-cloud-init-users
usermod --password '!' --expiredate 1 "$BUILD_ACCOUNT"
if id --name --groups "$BUILD_ACCOUNT" | grep -qw sudo; then
  gpasswd --delete "$BUILD_ACCOUNT" sudo >/dev/null
fi

# The only privileges left are the runner's own.
left=$(find /etc/sudoers.d -type f ! -name README ! -name runner)
if [ -n "$left" ]; then
  echo "seal: unexpected sudo rules: $left" >&2
  exit 1
fi
sync
