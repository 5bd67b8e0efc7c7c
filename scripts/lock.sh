#!/usr/bin/env bash
# Compile the hash-locked files. Versions stay as they are unless ARGS say --upgrade.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/retry.sh
source scripts/retry.sh

compile() {
  retry .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
    --custom-compile-command "make lock" "$@"
}

compile pyproject.toml --group docker --group dev -o requirements.lock
compile --group bootstrap -o scripts/uv.lock
