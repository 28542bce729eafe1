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

# Plays the runner's listener around the hook. It ends with 99 if the hook asks it to end.
make_listener() {
  listener=$(mktemp --directory)
  chmod 755 "$listener"
  mkdir "$listener/bin"
  cat >"$listener/bin/Runner.Listener" <<'LISTENER'
#!/bin/bash
trap 'kill -KILL "$hook"; exit 99' TERM
bash -e /opt/pxci/hooks/job-started.sh &
hook=$!
wait "$hook"
LISTENER
  chmod 755 "$listener/bin/Runner.Listener"
}

# Succeeds if the hook ends as expected: 0 for admitted, 99 for refused. Takes the event's name and its document.
hook_ends() {
  local status=0
  echo "$3" >"$listener/event"
  (cd / && GITHUB_EVENT_NAME=$2 GITHUB_EVENT_PATH=$listener/event setpriv --reuid runner --regid runner --init-groups -- "$listener/bin/Runner.Listener") || status=$?
  [ "$status" -eq "$1" ]
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
make_listener
check "the hook refuses a push" hook_ends 0 push '{"repository":{"full_name":"o/r"}}'
check "the hook refuses a pull request of the repository's own" hook_ends 0 pull_request "$same"
check "the hook does not end the runner of a fork's pull request" hook_ends 99 pull_request "$fork"
check "the hook does not end the runner of a deleted fork's pull request" hook_ends 99 pull_request "$gone"
check "the hook does not end the runner of a job whose event it cannot read" hook_ends 99 push 'nonsense'
rm -rf "$listener"

if [ "$failures" -gt 0 ]; then
  echo "verify: $failures checks failed" >&2
  exit 1
fi
echo "verify: all checks passed"
