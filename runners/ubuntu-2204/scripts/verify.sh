#!/bin/bash
# Checks that the image is as pxci expects it. Runs all checks before it fails.
set -uo pipefail

: "${RUNNER_VERSION:?}"
readonly runner=/opt/actions-runner
failures=0

check() {
  local what=$1
  shift
  if "$@" >/dev/null 2>&1; then
    return
  fi
  echo "verify: $what" >&2
  failures=$((failures + 1))
}

absent() {
  local path
  for path; do
    if [ -e "$path" ] || [ -L "$path" ]; then return 1; fi
  done
}

no_match() {
  [ -z "$(compgen -G "$1")" ]
}

mode() {
  [ "$(stat --format '%U:%a' "$1")" = "$2" ]
}

empty() {
  [ -f "$1" ] && [ ! -s "$1" ]
}

last_data_source_list() {
  cat /etc/cloud/cloud.cfg /etc/cloud/cloud.cfg.d/*.cfg 2>/dev/null | sed -n 's/^datasource_list: *//p' | tail -n 1 | grep -q "$1"
}

answers_version() {
  [ "$(cd / && setpriv --reuid runner --regid runner --init-groups -- "$runner/bin/Runner.Listener" --version)" = "$RUNNER_VERSION" ]
}

makes_runtime_directory() {
  systemd-tmpfiles --create /etc/tmpfiles.d/pxci.conf && mode /run/pxci root:700 && rmdir /run/pxci
}

# Runs the hook for an event: $1 is the event's name, $2 its document.
hook() {
  local event status=0
  event=$(mktemp)
  echo "$2" >"$event"
  chmod 644 "$event"
  (cd / && GITHUB_EVENT_NAME=$1 GITHUB_EVENT_PATH=$event setpriv --reuid runner --regid runner --init-groups -- /opt/pxci/hooks/job-started.sh) || status=$?
  rm -f "$event"
  return "$status"
}

hook_refuses() {
  if hook "$@"; then return 1; fi
}

check "the guest agent is missing" test -x /usr/sbin/qemu-ga
check "cloud-init is missing" command -v cloud-init
check "cloud-init is switched off" absent /etc/cloud/cloud-init.disabled
check "cloud-init does not read NoCloud seeds" last_data_source_list NoCloud
check "/etc/machine-id is not empty" empty /etc/machine-id
check "SSH host keys are left" no_match '/etc/ssh/ssh_host_*'
check "the installer's network configuration is left" no_match '/etc/netplan/*installer*'
check "the installer's cloud-init configuration is left" absent /etc/cloud/cloud.cfg.d/99-installer.cfg \
  /etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg /etc/cloud/ds-identify.cfg
check "an instance of cloud-init is left" absent /var/lib/cloud/instance /var/lib/cloud/data/instance-id
check "the network configuration is missing" test -s /etc/netplan/99-pxci.yaml

check "the runner program does not answer as version $RUNNER_VERSION" answers_version
check "the runner program does not belong to root" mode "$runner/bin/Runner.Listener" root:755
check "a registration is left" absent "$runner/.runner" "$runner/.credentials" "$runner/.credentials_rsaparams"
check "pxci-runner.path is not enabled" systemctl is-enabled pxci-runner.path
check "/run/pxci is not created, or users other than root may enter it" makes_runtime_directory
for file in /opt/pxci/runner-once /opt/pxci/runner-exited /opt/pxci/run-once.sh /opt/pxci/hooks/job-started.sh; do
  check "$file is missing, or does not belong to root" mode "$file" root:755
done

same='{"repository":{"full_name":"o/r"},"pull_request":{"head":{"repo":{"full_name":"o/r"}}}}'
fork='{"repository":{"full_name":"o/r"},"pull_request":{"head":{"repo":{"full_name":"x/r"}}}}'
gone='{"repository":{"full_name":"o/r"},"pull_request":{"head":{"repo":null}}}'
check "the hook refuses a push" hook push '{"repository":{"full_name":"o/r"}}'
check "the hook refuses a pull request from the repository itself" hook pull_request "$same"
check "the hook accepts a fork's pull request" hook_refuses pull_request "$fork"
check "the hook accepts a deleted fork's pull request" hook_refuses pull_request "$gone"
check "the hook accepts a job whose event it cannot read" hook_refuses push 'nonsense'

if [ "$failures" -gt 0 ]; then
  echo "verify: $failures checks failed" >&2
  exit 1
fi
echo "verify: all checks passed"
