#!/usr/bin/env bash
# The whole pipeline on MovieLens-100K, in the order of the words, then its result by SQL.
# What it makes stands in ./warehouse and ./reports; a second run converges on the same tables.
set -euo pipefail
cd "$(dirname "$0")/.."

start=$SECONDS
step() {
  local began=$SECONDS
  echo "demo: nightrank $*"
  .venv/bin/nightrank "$@"
  echo "demo: $1 took $((SECONDS - began)) s, $((SECONDS - start)) s in all"
  echo
}

step ingest ml-100k
step train
step export
step evaluate
step promote
step score
step publish
for user in 1 42 500; do
  step sql "SELECT rank, title, round(score, 3) AS score, reason FROM recommendations_named
            WHERE user_id = '$user' AND rank <= 10 ORDER BY rank"
done
echo "demo: done in $((SECONDS - start)) s; the report is reports/evaluation.md"
