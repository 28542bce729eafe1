#!/bin/sh
# Replaces the script of the same name in GitHub's runner archive.
if [ "$(id -u)" -eq 0 ] && [ -z "${RUNNER_ALLOW_RUNASROOT:-}" ]; then
    echo 'Must not run with sudo'
    exit 1
fi
root=$(cd "$(dirname "$0")" && pwd) || exit 1
[ -f "$root/.env" ] || "$root/env.sh"
exec "$root/bin/Runner.Listener" configure "$@"
