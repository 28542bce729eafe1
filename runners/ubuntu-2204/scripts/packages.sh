#!/bin/bash
# Updates the system. Installs the packages that the image needs, and those in PACKAGES.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

# Packages that the runner, its unit and its hook need.
needed=(ca-certificates cloud-init curl git jq qemu-guest-agent sudo tar)
read -r -a wanted <<<"${PACKAGES:-}"

# The first boot must have ended, because cloud-init may still install packages.
timeout 600 cloud-init status --wait >/dev/null || echo "cloud-init did not end cleanly; continuing"

apt=(apt-get --quiet --yes -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0)
"${apt[@]}" update
"${apt[@]}" dist-upgrade
"${apt[@]}" install --no-install-recommends "${needed[@]}" "${wanted[@]}"
"${apt[@]}" autoremove --purge
