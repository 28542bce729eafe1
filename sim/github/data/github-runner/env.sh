#!/bin/sh
# Replaces the script of the same name in GitHub's runner archive. Stores the environment of jobs.
root=$(cd "$(dirname "$0")" && pwd) || exit 1
for name in LANG JAVA_HOME ANT_HOME M2_HOME; do
    eval "value=\${$name:-}"
    [ -z "$value" ] || echo "$name=$value" >>"$root/.env"
done
touch "$root/.env"
echo "$PATH" >"$root/.path"
