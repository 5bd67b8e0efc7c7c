"""The DAGs as Airflow reads them, and what their tasks hand to the command line.

Airflow runs in processes of its own: it reads its settings when it is imported.
"""

import ast
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

PROJECT = Path(__file__).resolve().parents[2]
DAGS = PROJECT / "dags"
EDGES = {
    "retrain": {
        "ingest": ["train"],
        "train": ["export"],
        "export": ["evaluate"],
        "evaluate": ["promote"],
        "promote": [],
    },
    "nightly": {"ingest": ["score"], "score": ["publish"], "publish": []},
    "maintain": {"maintain": []},
}
HOSTILE = """$(touch pwned) `touch pwned` "; touch pwned; ' {{ 7 * 7 }} \u00e9\U0001f3ac
--config /etc/passwd"""

FAILURES = [
    "Bash command failed. The command returned a non-zero exit code 2.",
    "Bash command failed. The command returned a non-zero exit code 1.",
    "Bash command failed. The command returned a non-zero exit code 3.",
    "Bash command failed. The command returned a non-zero exit code 137.",
    "Cannot execute: spark-submit --master local[2]. Error code is: 2. Last output: x",
    "Cannot execute: spark-submit --master local[2]. Error code is: 1. Last output: x",
]
READ_DAGS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.exceptions import AirflowException

bag = DagBag(sys.argv[1])
found = {"errors": bag.import_errors, "dags": {}}
for name, dag in bag.dags.items():
    dag.params.validate()
    found["dags"][name] = {
        "edges": {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks},
        "schedule": dag.timetable.__class__.__name__,
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "doc": dag.doc_md,
        "params": dag.params.dump(),
        "tasks": {
            task.task_id: {
                "pool": task.pool,
                "timeout": task.execution_timeout.total_seconds(),
                "outlets": [outlet.name for outlet in task.outlets],
                "retries": task.retries,
                "decisions": [
                    task.retry_policy.evaluate(AirflowException(message), 1, 2).action.value
                    for message in json.loads(sys.argv[2])
                ],
            }
            for task in dag.tasks
        },
    }
print("FOUND" + json.dumps(found))
"""

# stands where `nightrank` and `spark-submit` stand on the path, and writes down how it was called;
# a question is passed on
RECORDER = f"""#!{sys.executable}
import json, os, sys
names = [name for name in os.environ if name.startswith("NIGHTRANK_")]
with open(os.environ["RECORD"], "a") as file:
    call = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
    print(json.dumps([call, os.getcwd(), {{name: os.environ[name] for name in names}}]), file=file)
if "show-config" in sys.argv:
    os.execv({str(Path(sys.executable).with_name("nightrank"))!r}, sys.argv)
"""

RUN_DAGS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag

for name, conf in json.loads(sys.argv[2]):
    dag = DagBag(sys.argv[1]).dags[name]  # anew: the fields of a run stay in the tasks of its DAG
    try:
        end = dag.test(run_conf=conf, logical_date=None).state
    except ValueError as error:
        end = str(error)
    print("END" + json.dumps(end))
"""
GOOD_RUNS: list[tuple[str, dict[str, Any]]] = [
    ("retrain", {"source": HOSTILE, "encoder": HOSTILE, "epochs": 3, "warmup_share": 0.0}),
    ("nightly", {"run_date": "2026-02-28", "allow_later_model": True}),  # a backfill
    ("nightly", {}),
    ("maintain", {"keep_days": 60}),
]
# without a source no command runs; a command's last line is the end of the log
WITHOUT_SOURCE: list[tuple[str, dict[str, Any]]] = [("nightly", {}), ("retrain", {"source": "."})]
BAD_RUNS: list[tuple[str, dict[str, Any], str]] = [
    ("retrain", {"epochs": 0}, "param epochs: 0 is less than the minimum of 1"),
    ("nightly", {"run_date": "28.02.2026"}, "'28.02.2026' is not a 'date'"),
    ("nightly", {"run_dat": "2026-02-28"}, "failed"),
]


def airflow(home: Path, script: str, *arguments: str, **variables: str) -> str:
    """Run a Python script beside Airflow, its state under `home`; return its output."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("NIGHTRANK_")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(DAGS),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def found(prepared_airflow: Path) -> dict[str, Any]:
    """Return what Airflow reads from dags/."""
    line = airflow(prepared_airflow, READ_DAGS, str(DAGS), json.dumps(FAILURES)).split("FOUND")[-1]
    answer: dict[str, Any] = json.loads(line)
    assert answer["errors"] == {}
    dags: dict[str, Any] = answer["dags"]
    return dags


def test_edges(found: dict[str, Any]) -> None:
    assert {name: dag["edges"] for name, dag in found.items()} == EDGES


def test_schedules_never_catch_up_nor_overlap(found: dict[str, Any]) -> None:
    for dag in found.values():
        assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)
        assert dag["doc"].strip().startswith("### ")
    assert found["retrain"]["schedule"] == "CronTriggerTimetable"
    assert found["nightly"]["schedule"] == "AssetOrTimeSchedule"


def test_writers_and_trainings_take_their_turn(found: dict[str, Any]) -> None:
    pools = {name: {t: v["pool"] for t, v in dag["tasks"].items()} for name, dag in found.items()}
    assert pools["maintain"] == {"maintain": "delta_writer"}
    assert pools["nightly"] == dict.fromkeys(("ingest", "score", "publish"), "delta_writer")
    assert pools["retrain"]["ingest"] == "delta_writer"
    assert pools["retrain"]["train"] == "gpu"


def test_outlets(found: dict[str, Any]) -> None:
    outlets = {t: v["outlets"] for dag in found.values() for t, v in dag["tasks"].items()}
    assert {task: names for task, names in outlets.items() if names} == {
        "promote": ["champion"],
        "publish": ["recommendations"],
    }


def test_every_task_ends_and_only_input_errors_are_final(found: dict[str, Any]) -> None:
    for dag in found.values():
        for task in dag["tasks"].values():
            assert 0 < task["timeout"] <= 12 * 3600
            assert task["retries"] == 2
            assert task["decisions"] == ["fail", "fail", "default", "default", "fail", "default"]


def test_a_form_is_empty_at_first(found: dict[str, Any]) -> None:
    assert {value for dag in found.values() for value in dag["params"].values()} == {None}
    assert list(found["nightly"]["params"])[:2] == ["source", "run_date"]
    assert {"source", "epochs", "seed"} <= set(found["retrain"]["params"])


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.name)
def test_a_dag_file_imports_airflow_and_the_standard_library_alone(path: Path) -> None:
    allowed = {"airflow", "steps", *sys.stdlib_module_names}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert {name.split(".")[0] for name in names} <= allowed


@pytest.mark.parametrize("line", ["import torch", "from pyspark.sql import Row", "import jobs.cli"])
def test_lint_refuses_a_heavy_import_in_a_dag(line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", str(DAGS / "new.py"), "-"],
        input=f'"""A DAG."""\n\n{line}\n', capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "TID25" in done.stdout


@pytest.fixture(scope="session")
def answers(
    prepared_airflow: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], list[Any]]:
    """Return how each run ended, and each call of a command: words, folder, settings."""
    folder = tmp_path_factory.mktemp("commands")
    for name in ("nightrank", "spark-submit"):
        (folder / name).write_text(RECORDER)
        (folder / name).chmod(0o755)
    runs = [*GOOD_RUNS, *((dag, conf) for dag, conf, _ in BAD_RUNS)]
    output = airflow(
        prepared_airflow, RUN_DAGS, str(DAGS), json.dumps(runs),
        RECORD=str(folder / "calls"), PATH=f"{folder}:{os.environ['PATH']}",
        NIGHTRANK_SEED="5", NIGHTRANK_EPOCHS="9", NIGHTRANK_SPARK_MEMORY="2g",
        AIRFLOW_VAR_NIGHTRANK_SOURCE="nights",
        AIRFLOW_CONN_SPARK_DEFAULT='{"conn_type": "spark", "host": "local[2]"}',
    )  # fmt: skip
    ends = [json.loads(line[3:]) for line in output.splitlines() if line.startswith("END")]
    calls = (folder / "calls").read_text("utf-8").splitlines()
    return ends, [json.loads(line) for line in calls]


def test_values_reach_the_commands_as_they_are(answers: tuple[list[str], list[Any]]) -> None:
    ends, calls = answers
    assert ends[: len(GOOD_RUNS)] == ["success"] * len(GOOD_RUNS)
    assert {folder for _, folder, _ in calls} == {str(PROJECT)}
    configured = {
        "NIGHTRANK_SEED": "5", "NIGHTRANK_EPOCHS": "9", "NIGHTRANK_SPARK_MEMORY": "2g",
    }  # fmt: skip
    form = configured | {
        "NIGHTRANK_ENCODER": HOSTILE, "NIGHTRANK_EPOCHS": "3", "NIGHTRANK_WARMUP_SHARE": "0.0",
    }  # fmt: skip
    earlier = configured | {"NIGHTRANK_ALLOW_LATER_MODEL": "True"}
    tonight = configured | {"NIGHTRANK_ALLOW_FUTURE_NIGHT": "true"}
    assert [settings for _, _, settings in calls] == [
        *[form] * 5,
        earlier, configured, earlier, earlier,
        configured, configured, tonight, configured,
        configured | {"NIGHTRANK_KEEP_DAYS": "60"},
    ]  # fmt: skip
    question = ["nightrank", "show-config", "--json"]
    words = [call for call, _, _ in calls if call != question]
    today = words[9][-1]
    assert words[:6] == [
        ["nightrank", "ingest", today, "--", HOSTILE],
        *(["nightrank", verb] for verb in ("train", "export", "evaluate", "promote")),
        ["nightrank", "ingest", "--run-date=2026-02-28", "--", "nights"],
    ]
    assert words[6][:3] == ["spark-submit", "--master", "local[2]"]
    assert "spark.driver.memory=2g" in words[6]
    assert words[6][-3:] == [str(PROJECT / "jobs" / "cli.py"), "score", "--run-date=2026-02-28"]
    assert words[7] == ["nightrank", "publish", "--run-date=2026-02-28"]
    assert today == words[10][-1]
    assert words[11] == ["nightrank", "maintain"]
    assert not list(PROJECT.glob("pwned"))


def test_a_wrong_field_is_refused_before_any_command(answers: tuple[list[str], list[Any]]) -> None:
    ends, calls = answers
    assert len(calls) == 14
    for end, (_, _, expected) in zip(ends[len(GOOD_RUNS) :], BAD_RUNS, strict=True):
        assert expected in end


def test_make_airflow_names_the_source_of_the_demo(prepared_airflow: Path) -> None:
    with closing(sqlite3.connect(prepared_airflow / "airflow.db")) as database:
        assert database.execute("SELECT key FROM variable").fetchall() == [("nightrank_source",)]


def test_without_a_source_the_run_names_the_variable_and_ingests_nothing(
    prepared_airflow: Path, tmp_path: Path
) -> None:
    (tmp_path / "nightrank").write_text("#!/bin/sh\necho 'nightrank: nothing in .' >&2\nexit 2\n")
    (tmp_path / "nightrank").chmod(0o755)
    output = airflow(
        prepared_airflow, RUN_DAGS, str(DAGS), json.dumps(WITHOUT_SOURCE),
        PATH=f"{tmp_path}:{os.environ['PATH']}", AIRFLOW_VAR_NIGHTRANK_SOURCE="",
    )  # fmt: skip
    nightly, retrain = output.split("END")[:2]
    assert "set the Airflow variable nightrank_source to a folder" in nightly
    assert "Running command" not in nightly
    assert "non-zero exit code 2. nightrank: nothing in ." in retrain
