#!/usr/bin/env bash
# Lint what is not Python; `make check` calls it. Prints only what is wrong.
set -euo pipefail
cd "$(dirname "$0")/.."

yamllint --strict .
zizmor --offline --quiet .
kubernetes-validate --strict --quiet deploy/kubernetes/*.yaml
hadolint dockerfiles/*.dockerfile

if command -v shellcheck >/dev/null; then
  shellcheck .ci/run scripts/*.sh dockerfiles/*/*.sh
else
  echo "check: shell scripts were not looked at, shellcheck is not installed; apt-get install shellcheck" >&2
fi
