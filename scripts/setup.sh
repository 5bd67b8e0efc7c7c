#!/usr/bin/env bash
# Set up everything that the other targets need; safe to interrupt and to call again.
#   .deps/uv      the installer, hash-locked through pip
#   .venv         Python packages, hash-locked, and nightrank itself, editable
#   .deps/java*   a Java 17 or 21, only where the machine has none
#   .deps/jars    Delta for Spark
#   .deps/*.jsa   Java's classes, so that Spark starts sooner
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/retry.sh
source scripts/retry.sh

say() { echo "set-up: $*" >&2; }

find_python() {
  local name
  for name in python3 python3.12 python3.11; do
    if "$name" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
      2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  say "Python 3.11 or 3.12 is needed; found: $(python3 --version 2>&1 || true)"
  return 1
}

can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
  say "installing $* from Debian's packages"
  retry apt-get -qq update >&2
  DEBIAN_FRONTEND=noninteractive retry apt-get -qq install -y --no-install-recommends "$@" >&2
}

# The installer: by a virtual environment's pip, or by a pip that is there already.
install_uv() {
  local python=$1
  rm -rf .deps/uv
  say "installing uv"
  if ! "$python" -m venv .deps/uv >/dev/null 2>&1; then
    rm -rf .deps/uv
    if "$python" -m pip --version >/dev/null 2>&1; then
      retry "$python" -m pip install -q --disable-pip-version-check --target .deps/uv \
        --require-hashes -r scripts/uv.lock
      return
    fi
    if ! can_apt; then
      say "$python has neither pip nor ensurepip: install python3-venv, or run this as root"
      return 1
    fi
    apt_install "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    "$python" -m venv .deps/uv
  fi
  retry .deps/uv/bin/python -m pip install -q --disable-pip-version-check \
    --require-hashes -r scripts/uv.lock
}

# An index that is configured for pip alone serves uv too.
use_index_of_pip() {
  local url
  url=$("$1" -m pip config get global.index-url 2>/dev/null || true)
  url=${PIP_INDEX_URL:-$url}
  if [ -n "$url" ] && [ -z "${UV_INDEX_URL:-}${UV_DEFAULT_INDEX:-}" ]; then
    export UV_DEFAULT_INDEX=$url
  fi
  export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-true}
}

install_packages() {
  local python=$1 stamp
  stamp=$(cat requirements.lock pyproject.toml scripts/uv.lock scripts/setup.sh | sha256sum)
  stamp="$stamp $("$python" -V) $PWD"
  if [ "$(cat .venv/nightrank-stamp 2>/dev/null || true)" = "$stamp" ] &&
    .venv/bin/python -c 'import jobs' 2>/dev/null; then
    return
  fi
  .deps/uv/bin/uv --version >/dev/null 2>&1 || install_uv "$python"
  use_index_of_pip "$python"
  say "installing the Python packages of requirements.lock into .venv"
  # no stamp: an interrupted set-up, whose packages may lack files that no installer would miss
  if ! [ -e .venv/nightrank-stamp ] || ! .venv/bin/python -c '' 2>/dev/null; then
    rm -rf .venv
    .deps/uv/bin/uv venv -q --no-project --python "$python" .venv
  fi
  rm -f .venv/nightrank-stamp
  VIRTUAL_ENV=.venv retry .deps/uv/bin/uv pip sync -q --require-hashes requirements.lock
  VIRTUAL_ENV=.venv .deps/uv/bin/uv pip install -q --no-deps --no-build-isolation -e .
  echo "$stamp" >.venv/nightrank-stamp
}

install_java() {
  if .venv/bin/python -m jobs.spark.java >/dev/null 2>&1; then
    return
  fi
  if can_apt && apt_install openjdk-17-jre-headless &&
    .venv/bin/python -m jobs.spark.java >/dev/null 2>&1; then
    return
  fi
  say "installing Java into .deps"
  if ! retry fetch_java; then
    say "no Java could be fetched: install a Java 17 or 21, point JAVA_HOME at it, and try again"
    return 1
  fi
}

fetch_java() {
  rm -rf .deps/java-part .deps/java
  .venv/bin/python - <<'FETCH' || return
import sys
import jdk

try:
    jdk.install("17", jre=True, path=".deps/java-part")
except Exception as error:
    sys.exit(f"set-up: {error}")
FETCH
  mv .deps/java-part/* .deps/java
  rmdir .deps/java-part
  .venv/bin/python -m jobs.spark.java >/dev/null
}

mkdir -p .deps
exec 9>.deps/lock
flock 9  # two set-ups at once would fight over the same folders
if [ "$(uname -sm)" != "Linux x86_64" ]; then
  say "the locked packages are for Linux on x86_64, not for $(uname -sm)"
  exit 1
fi
python=$(find_python)
install_packages "$python"
install_java
bash scripts/jars.sh
.venv/bin/python -m jobs.spark.class_archive ||
  say "no archive of Java's classes could be made; Spark will start more slowly"
