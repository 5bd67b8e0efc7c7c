#!/usr/bin/env bash
# Every check that needs no test run. All of them run, so that one call shows everything.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
check() {
  echo "lint: $*"
  ".venv/bin/$1" "${@:2}" || failed=1
}

check ruff format --check .
check ruff check .
check mypy
check lint-imports --no-logo
exit "$failed"
