#!/bin/bash
# Runs before a job's first step; a failure here ends the job. Root owns this file, so no job can change what it says.
#
# A registration can be taken by any job with the right labels, also by a pull request from a fork. The machine itself
# therefore decides whose jobs run: a private pool refuses jobs of forks. A pool that is declared public
# (`public` in /etc/pxci/trust) takes them, and refuses those events that bring a repository's secrets along.
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
  refuse "This runner cannot read the job's event, so it cannot tell whose job it is."
fi

case $trust:$event in
  public:pull_request_target | public:workflow_run)
    refuse "This runner pool is public: it does not run '$event' jobs, which carry the repository's secrets."
    ;;
  public:*) exit 0 ;;
esac

# A deleted fork has no repository any more; it was a fork all the same.
if jq -e '.pull_request != null and (.pull_request.head.repo.full_name // "") != .repository.full_name' "$file" >/dev/null; then
  refuse "This runner pool does not run jobs of pull requests from forks."
fi
if jq -e '.workflow_run != null and (.workflow_run.head_repository.full_name // "") != .repository.full_name' "$file" >/dev/null; then
  refuse "This runner pool does not run jobs that follow the workflow run of a fork."
fi
