#!/bin/bash
# Brings the system up to date and installs what the image needs, and what was asked for in PACKAGES.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

# What the runner, its unit and its hook call.
needed=(ca-certificates cloud-init curl git jq qemu-guest-agent sudo tar)
read -r -a wanted <<<"${PACKAGES:-}"

# The first boot must be over: cloud-init may still be installing.
timeout 600 cloud-init status --wait >/dev/null || echo "cloud-init did not end cleanly; going on"

apt=(apt-get --quiet --yes -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0)
"${apt[@]}" update
"${apt[@]}" dist-upgrade
"${apt[@]}" install --no-install-recommends "${needed[@]}" "${wanted[@]}"
"${apt[@]}" autoremove --purge
