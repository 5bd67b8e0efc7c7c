#!/usr/bin/env bash
# Airflow with the project's DAGs: state in .airflow, tasks on .venv, one page on localhost.
#   scripts/airflow.sh                         serve; Ctrl-C ends everything
#   scripts/airflow.sh dags test nightly ...   any other Airflow command, same surroundings
# What Airflow's own variables say already, AIRFLOW__API__PORT=8081 for one, wins.
# shellcheck disable=SC2329  # some functions are called by a trap
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "airflow: $*" >&2; }

surroundings() {
  export PATH="$PWD/.venv/bin:$PATH"
  JAVA_HOME=$(python -m jobs.spark.java)
  export JAVA_HOME
  export SPARK_LOCAL_IP=${SPARK_LOCAL_IP:-127.0.0.1}
  export AIRFLOW_HOME=${AIRFLOW_HOME:-$PWD/.airflow}
  # SQLite lets one process write at a time. By default the others give up after five seconds, and
  # the page answers 500: on a busy machine the scheduler alone may write for longer.
  export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=${AIRFLOW__DATABASE__SQL_ALCHEMY_CONN:-"sqlite:///$AIRFLOW_HOME/airflow.db?timeout=60"}
  export AIRFLOW__CORE__DAGS_FOLDER=${AIRFLOW__CORE__DAGS_FOLDER:-$PWD/dags}
  export PYTHONPATH="$AIRFLOW__CORE__DAGS_FOLDER${PYTHONPATH:+:$PYTHONPATH}"
  export AIRFLOW__CORE__LOAD_EXAMPLES=${AIRFLOW__CORE__LOAD_EXAMPLES:-False}
  export AIRFLOW__CORE__PARALLELISM=${AIRFLOW__CORE__PARALLELISM:-4}
  export AIRFLOW__CORE__AUTH_MANAGER=airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager
  export AIRFLOW__API__HOST=${AIRFLOW__API__HOST:-127.0.0.1}
  export AIRFLOW__API__PORT=${AIRFLOW__API__PORT:-8080}
  export AIRFLOW__API__BASE_URL=${AIRFLOW__API__BASE_URL:-http://localhost:$AIRFLOW__API__PORT}
  export AIRFLOW_CONN_SPARK_DEFAULT=${AIRFLOW_CONN_SPARK_DEFAULT:-'{"conn_type": "spark", "host": "local[*]"}'}
}

# Database, pools and the demo's source, once for each version of Airflow.
prepare() {
  local stamp="$AIRFLOW_HOME/prepared" version
  version=$(python -c 'import importlib.metadata as m; print(m.version("apache-airflow"), "2")')
  if [ "$(cat "$stamp" 2>/dev/null || true)" = "$version" ]; then
    return
  fi
  say "preparing $AIRFLOW_HOME"
  umask 077
  mkdir -p "$AIRFLOW_HOME"
  quietly airflow db migrate
  cat >"$AIRFLOW_HOME/pools.json" <<'POOLS'
{"gpu": {"slots": 1, "description": "one training at a time", "include_deferred": false},
 "delta_writer": {"slots": 1, "description": "one writer of the tables", "include_deferred": false}}
POOLS
  quietly airflow pools import "$AIRFLOW_HOME/pools.json"
  # the DAGs have no source of their own: here, on a laptop, it is the demo's, until somebody says
  if ! airflow variables get nightrank_source >/dev/null 2>&1; then
    quietly airflow variables set nightrank_source ml-100k
  fi
  echo "$version" >"$stamp"
}

# A command whose output is of interest only when it fails.
quietly() {
  local log="$AIRFLOW_HOME/prepare.log"
  "$@" >"$log" 2>&1 || {
    cat "$log" >&2
    return 1
  }
}

refuse_taken_port() {
  if (exec 3<>"/dev/tcp/127.0.0.1/$AIRFLOW__API__PORT") 2>/dev/null; then
    say "port $AIRFLOW__API__PORT is taken: end what listens there, or choose another:" \
      "AIRFLOW__API__PORT=8081 make airflow"
    return 1
  fi
}

# Each part leads a session of its own: Ctrl-C reaches this script alone, which passes it on once.
# A scheduler that is signalled twice waits for ever on its workers.
parts=()
start() {
  setsid airflow "$@" >>"$AIRFLOW_HOME/$1.log" 2>&1 &
  parts+=("$!")
}

alive() {
  local part
  for part in "${parts[@]}"; do
    ! kill -0 -- "-$part" 2>/dev/null || return 0
  done
  return 1
}

signal() {
  local part
  for part in "${parts[@]}"; do
    kill "$1" -- "-$part" 2>/dev/null || true
  done
}

finish() {
  trap '' INT TERM
  say "ending, with running tasks"
  kill "$announcer" 2>/dev/null || true
  signal -TERM
  for _ in $(seq 20); do
    alive || return 0
    sleep 1
  done
  signal -KILL
}

# Address, user and password, as soon as the page answers.
announce() {
  python - "$AIRFLOW_HOME/simple_auth_manager_passwords.json.generated" <<'ANNOUNCE'
import json, os, sys, time, urllib.request

address = os.environ["AIRFLOW__API__BASE_URL"]
for _ in range(300):
    try:
        urllib.request.urlopen(f"{address}/api/v2/monitor/health", timeout=5)
        break
    except OSError:
        time.sleep(1)
print(f"airflow: ready at {address}")
for user, password in json.load(open(sys.argv[1])).items():
    print(f"airflow: user {user}, password {password}")
print("airflow: the DAGs ingest what the variable nightrank_source says, at first ml-100k:")
print("airflow: set it under Admin, Variables, to the folder of your own data")
print("airflow: Ctrl-C ends everything", flush=True)
ANNOUNCE
}

surroundings
if [ "$#" -gt 0 ]; then
  prepare
  exec airflow "$@"
fi
refuse_taken_port
prepare
umask 077
trap finish EXIT
trap 'exit 130' INT TERM
start api-server
start scheduler --skip-serve-logs
start dag-processor
start triggerer --skip-serve-logs
announce &
announcer=$!
wait -n "${parts[@]}" || true
say "a part ended by itself: its log is in $AIRFLOW_HOME"
exit 1
