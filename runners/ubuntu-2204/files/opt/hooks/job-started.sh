#!/bin/bash
# Runs before a job's first step. A failure ends the job. Root owns this file, so no job can change it.
#
# Any job with the right labels can get this runner, even the job of a pull request from a fork. The VM therefore
# decides whose jobs run. A private pool refuses jobs of forks. A pool that is declared public (`public` in
# /etc/pxci/trust) runs them, and refuses events whose jobs have the repository's secrets.
set -euo pipefail

refuse() {
  echo "::error::$1"
  exit 1
}

trust=private
if [ -r /etc/pxci/trust ]; then
  trust=$(tr -d '[:space:]' </etc/pxci/trust)
fi

event=${GITHUB_EVENT_NAME:-}
file=${GITHUB_EVENT_PATH:-}
if [ -z "$event" ] || [ ! -r "$file" ] || ! jq -e 'type == "object"' "$file" >/dev/null 2>&1; then
  refuse "This runner cannot read the job's event, so it does not know whose job this is."
fi

case $trust:$event in
  public:pull_request_target | public:workflow_run)
    refuse "This runner pool is public: it does not run '$event' jobs, which have the repository's secrets."
    ;;
  public:*) exit 0 ;;
esac

# A fork that was deleted has no repository, but its pull request is still that of a fork.
if jq -e '.pull_request != null and (.pull_request.head.repo.full_name // "") != .repository.full_name' "$file" >/dev/null; then
  refuse "This runner pool does not run jobs of pull requests from forks."
fi
if jq -e '.workflow_run != null and (.workflow_run.head_repository.full_name // "") != .repository.full_name' "$file" >/dev/null; then
  refuse "This runner pool does not run jobs that follow the workflow run of a fork."
fi
