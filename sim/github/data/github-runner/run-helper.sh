#!/bin/sh
# Replaces the script of the same name in GitHub's runner archive. Runs the listener once and explains its exit code.
if [ "$(id -u)" -eq 0 ] && [ -z "${RUNNER_ALLOW_RUNASROOT:-}" ]; then
    echo 'Must not run interactively with sudo'
    exit 1
fi
root=$(cd "$(dirname "$0")" && pwd) || exit 1
"$root/bin/Runner.Listener" run "$@"
code=$?
case $code in
    0) echo 'Runner listener exit with 0 return code, stop the service, no retry needed.'; exit 0 ;;
    1) echo 'Runner listener exit with terminated error, stop the service, no retry needed.'; exit 0 ;;
    2) echo 'Runner listener exit with retryable error, re-launch runner in 5 seconds.'; sleep 5; exit 2 ;;
    5) echo 'Runner listener exit with Session Conflict error, stop the service, no retry needed.'; exit 0 ;;
    7) echo 'Runner listener exit with deprecated version error code: 7.'; exit 7 ;;
    *) echo "Exiting with unknown error code: $code"; exit 0 ;;
esac
