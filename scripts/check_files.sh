#!/usr/bin/env bash
# Lint the files that are not Python; `make check` calls it. Prints errors only.
set -euo pipefail
cd "$(dirname "$0")/.."

yamllint --strict .
zizmor --offline --quiet .
# What kustomize makes of them is checked in tests/deploy/test_kubernetes.py.
kubernetes-validate --strict --quiet deploy/kubernetes/base/[!k]*.yaml
hadolint dockerfiles/*.dockerfile deploy/kubernetes/scoring/*.dockerfile

if command -v shellcheck >/dev/null; then
  shellcheck .ci/run scripts/*.sh dockerfiles/*/*.sh
else
  echo "check: shell scripts were not checked, shellcheck is not installed; apt-get install shellcheck" >&2
fi
