#!/bin/bash
# Installs GitHub's runner program, after a check of its checksum, and the files around it. Registers nothing.
set -euo pipefail

: "${RUNNER_VERSION:?}" "${RUNNER_URL:?}" "${RUNNER_SHA256:?}"
readonly files=/tmp/pxci-image/files
readonly runner=/opt/actions-runner

if ! getent passwd runner >/dev/null; then
  useradd --create-home --shell /bin/bash --comment "GitHub Actions runner" runner
fi
# A job may become root, as on GitHub's own runners. The VM confines the job.
echo 'runner ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/runner
chmod 440 /etc/sudoers.d/runner

archive=$(mktemp)
trap 'rm -f "$archive"' EXIT
curl --fail --silent --show-error --location --retry 5 --retry-connrefused --output "$archive" "$RUNNER_URL"
if ! echo "$RUNNER_SHA256  $archive" | sha256sum --check --quiet; then
  echo "the archive at $RUNNER_URL is not the one with SHA-256 $RUNNER_SHA256" >&2
  exit 1
fi
install -d -o root -g root -m 755 "$runner"
tar --extract --gzip --no-same-owner --file "$archive" --directory "$runner"
"$runner/bin/installdependencies.sh"

install -d -o root -g root -m 755 /opt/pxci /opt/pxci/hooks /etc/pxci
install -o root -g root -m 755 "$files"/opt/runner-once "$files"/opt/runner-exited "$files"/opt/run-once.sh /opt/pxci/
install -o root -g root -m 755 "$files"/opt/hooks/job-started.sh /opt/pxci/hooks/
ln -sfn /opt/pxci/run-once.sh "$runner/run-once.sh"
install -o root -g root -m 644 "$files"/tmpfiles.d/pxci.conf /etc/tmpfiles.d/
install -o root -g root -m 644 "$files"/systemd/pxci-runner.path "$files"/systemd/pxci-runner.service /etc/systemd/system/
systemctl enable pxci-runner.path
