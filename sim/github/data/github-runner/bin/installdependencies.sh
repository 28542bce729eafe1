#!/bin/sh
# Stand-in for the script of the same name in GitHub's runner archive. The real one installs what .NET needs; the
# stand-in needs only programs that an image has anyway.
for program in curl jq base64; do
    command -v "$program" >/dev/null || { echo "missing: $program" >&2; exit 1; }
done
