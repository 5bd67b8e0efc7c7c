#!/usr/bin/env bash
# Fetch the JARs of scripts/jars.lock into .deps/jars, by the Ivy that Spark ships, and check them.
# Each line there: sha256, group, artifact, version. A JAR that is missing or broken comes anew.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/retry.sh
source scripts/retry.sh

right() { [ "$(sha256sum 2>/dev/null <"$2" | cut -d' ' -f1)" = "$1" ]; }

fetch() {
  local sha=$1 group=$2 artifact=$3 version=$4
  # a folder of its own, new for every try: Ivy believes a half-filled cache
  rm -rf .deps/ivy
  "$(.venv/bin/python -m jobs.spark.java)/bin/java" -jar "$ivy" -warn -cache "$PWD/.deps/ivy/cache" \
    -dependency "$group" "$artifact" "$version" -notransitive -types jar \
    -retrieve "$PWD/.deps/ivy/[artifact]-[revision].[ext]" >&2
  right "$sha" ".deps/ivy/$artifact-$version.jar"
}

mkdir -p .deps/jars
ivy=$(echo .venv/lib/python3.*/site-packages/pyspark/jars/ivy-*.jar)
while read -r sha group artifact version; do
  target=".deps/jars/$artifact-$version.jar"
  if [ -f "$target" ] && right "$sha" "$target"; then
    continue
  fi
  echo "set-up: fetching $group:$artifact:$version" >&2
  retry fetch "$sha" "$group" "$artifact" "$version"
  mv ".deps/ivy/$artifact-$version.jar" "$target"
done <scripts/jars.lock
rm -rf .deps/ivy
