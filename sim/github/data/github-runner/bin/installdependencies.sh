#!/bin/sh
# Replaces the script of the same name in GitHub's runner archive. The real one installs the dependencies of
# .NET. This one only checks for programs that every image has.
for program in curl jq base64; do
    command -v "$program" >/dev/null || { echo "missing: $program" >&2; exit 1; }
done
