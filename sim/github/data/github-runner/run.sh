#!/bin/sh
# Replaces the script of the same name in GitHub's runner archive. As the real one it starts the listener again
# after a retryable error. With a registration for one job this repeats forever.
root=$(cd "$(dirname "$0")" && pwd) || exit 1
while :; do
    "$root/run-helper.sh" "$@"
    code=$?
    if [ "$code" -ne 2 ]; then
        echo 'Exiting runner...'
        exit "$code"
    fi
    echo 'Restarting runner...'
done
