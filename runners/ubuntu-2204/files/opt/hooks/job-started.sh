#!/bin/bash
# Runs before a job's first step and decides whether the job may run here. Root owns this file, so a job cannot change it.
#
# Any job with the right labels can take a registration, also a job of a pull request from a fork. The machine itself
# therefore decides whose jobs run: a private pool refuses jobs of forks. A public pool (`public` in /etc/pxci/trust)
# takes them, and refuses the events that give a job the repository's secrets.
set -euo pipefail

# Prints the process number of the runner's listener, which is an ancestor of this hook.
listener() {
  local process=$PPID argument
  while [ "$process" -gt 1 ]; do
    while IFS= read -r -d '' argument; do
      if [[ $argument == */bin/Runner.Listener ]]; then
        echo "$process"
        return
      fi
    done <"/proc/$process/cmdline"
    process=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$process/status")
  done
  return 1
}

# Ends the listener and does not return. After a hook that fails, the runner still runs each later step whose own
# condition holds, such as `if: always()`. Only a runner that shuts down runs no further step.
refuse() {
  local process
  trap '' HUP INT TERM
  echo "::error::$1"
  if process=$(listener); then
    kill -TERM "$process"
  else
    echo "The runner's listener was not found. Its worker is killed instead."
    kill -KILL "$PPID"
  fi
  # The ignored signals stay ignored.
  exec sleep infinity
}

# Prints where the job comes from: its own repository, a fork, or unreadable. A deleted fork has no repository any more.
origin() {
  jq --raw-output '
    def is_foreign(repository): (repository | type) != "object" or repository.full_name != .repository.full_name;
    if type != "object" then "unreadable"
    elif .pull_request == null and .workflow_run == null then "own"
    elif (.repository.full_name | type) != "string" then "unreadable"
    elif .pull_request != null and is_foreign(.pull_request.head.repo) then "fork"
    elif .workflow_run != null and is_foreign(.workflow_run.head_repository) then "fork"
    else "own" end' "$1"
}

trust=private
if [ -r /etc/pxci/trust ]; then
  trust=$(tr -d '[:space:]' </etc/pxci/trust)
fi

event=${GITHUB_EVENT_NAME:-}
file=${GITHUB_EVENT_PATH:-}
if [ -z "$event" ] || [ ! -f "$file" ] || ! from=$(origin "$file" 2>/dev/null); then
  refuse "This runner cannot read the job's event, so it cannot tell whose job it is."
fi

case $trust:$event:$from in
  public:pull_request_target:* | public:workflow_run:*)
    refuse "This runner pool is public: it does not run '$event' jobs, which can read the repository's secrets."
    ;;
  public:*:own | public:*:fork) ;;
  *:*:own) ;;
  *:pull_request*:fork) refuse "This runner pool does not run jobs of pull requests from forks." ;;
  *:*:fork) refuse "This runner pool does not run jobs that a fork caused." ;;
  *) refuse "This runner cannot read the job's event, so it cannot tell whose job it is." ;;
esac
