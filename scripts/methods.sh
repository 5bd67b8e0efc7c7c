#!/usr/bin/env bash
# Every way to fine-tune on one data set (DATA, ml-100k), beside each other: reports/methods.md.
# Rows that stand in reports/methods.json are kept: a second run goes on where the first ended.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA:-ml-100k}
warehouse=warehouse/methods-$data

.venv/bin/nightrank ingest "$data" --warehouse "$warehouse"
.venv/bin/python -m jobs.bench.methods reports --warehouse "$warehouse"
