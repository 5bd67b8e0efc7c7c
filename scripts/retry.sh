# Sourced by the other scripts: a package index may refuse at the first contact what it serves at
# the next one, so everything that is fetched is tried up to five times.
# shellcheck shell=bash

retry() {
  local try
  for try in 1 2 3 4 5; do
    if "$@"; then
      return 0
    fi
    echo "set-up: try $try of 5 failed: $*" >&2
    sleep "$((try * 2))"
  done
  echo "set-up: gave up; is the network reachable from here?" >&2
  return 1
}
