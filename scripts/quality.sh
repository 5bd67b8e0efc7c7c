#!/usr/bin/env bash
# The figures of every split: a version for each split and seed, then one report of them all.
#   DATA   what to ingest (ml-100k), SEEDS   the trainings of each split ("0 1 2")
# The last version is warm, first seed: the report is asked of it and finds its siblings. A second
# run trains nothing that is there.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA:-ml-100k}
read -ra seeds <<<"${SEEDS:-0 1 2}"
warehouse=warehouse/quality-$data

.venv/bin/nightrank ingest "$data" --warehouse "$warehouse"
for ((place = ${#seeds[@]} - 1; place >= 0; place--)); do
  for split in cold_item cold_user global_time warm; do
    echo "quality: $split, seed ${seeds[place]}"
    .venv/bin/nightrank train --warehouse "$warehouse" --split "$split" --seed "${seeds[place]}"
    .venv/bin/nightrank export --warehouse "$warehouse" --seed "${seeds[place]}"
  done
done
.venv/bin/nightrank evaluate --split all --data-name "$data" --warehouse "$warehouse" \
  --reports "reports/quality-$data"
