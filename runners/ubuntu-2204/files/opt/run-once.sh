#!/bin/bash
# For use by hand: registers this VM at GitHub, runs exactly one job, and removes the registration.
#
#   sudo /opt/actions-runner/run-once.sh URL TOKEN [LABELS] [NAME]
#
# URL is that of a repository or an organization. pxci itself does not use this script, because its VMs never get a
# registration token.
set -euo pipefail

if [ $# -lt 2 ] || [ $# -gt 4 ]; then
  echo "usage: $0 URL TOKEN [LABELS] [NAME]" >&2
  exit 2
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "$0 must be started by root; the runner itself runs as the user 'runner'" >&2
  exit 1
fi

readonly runner=/opt/actions-runner
url=$1
labels=${3:-self-hosted,linux,x64,ubuntu-22.04}
name=${4:-$(hostname)}

chown runner:runner "$runner"
cd "$runner"
as_runner() {
  HOME=/home/runner USER=runner LOGNAME=runner setpriv --reuid runner --regid runner --init-groups --inh-caps=-all -- "$@"
}

ACTIONS_RUNNER_INPUT_TOKEN=$2 as_runner ./config.sh --unattended --ephemeral --disableupdate --replace \
  --url "$url" --labels "$labels" --name "$name" --work _work
export ACTIONS_RUNNER_HOOK_JOB_STARTED=/opt/pxci/hooks/job-started.sh
as_runner ./bin/Runner.Listener run
