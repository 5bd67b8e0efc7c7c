"""What the DAGs share: one task for one verb of the command line.

- A command is a constant. Values of the form travel as environment variables: the settings under
  their own names `NIGHTRANK_*`, where the command line checks them; nothing is pasted into a
  command string.
- An empty field is left out, so the worker's own settings stay as they are.
- Exit code 2 means bad usage or bad input, 1 a defect: another try would end the same, so there is
  none. After 3, a platform that failed, or a kill, there is.

Trade-off: two small operators of our own instead of plain ones, so that "empty" can mean "as
configured" in the form.
"""

import json
import re
import subprocess
from contextlib import chdir
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.hooks.subprocess import SubprocessHook, SubprocessResult
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, Context, Param, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowException, AirflowFailException

PROJECT = Path(__file__).resolve().parents[1]
LOG4J = PROJECT / "jobs" / "spark" / "log4j2.properties"
FORMS: dict[str, dict[str, dict[str, Any]]] = json.loads(
    Path(__file__).with_name("form.json").read_text("utf-8")
)

CHAMPION = Asset(name="champion", uri="x-nightrank://models/champion")
RECOMMENDATIONS = Asset(name="recommendations", uri="x-nightrank://tables/recommendations")

# one task at a time holds each: the GPU, and the right to commit to the tables
GPU_POOL, WRITER_POOL = "gpu", "delta_writer"

SOURCE = "{{ params.source or var.value.get('nightrank_source', '') }}"
NO_SOURCE = (
    "no source to ingest: set the Airflow variable nightrank_source to a folder or the name of a "
    "source, or fill in the field source"
)
# a run that an asset or a person starts may have no logical date, but every run has a run_after
RUN_DATE = "{{ params.get('run_date') or ((dag_run.logical_date or dag_run.run_after) | ds) }}"
# the date of a run is never a typing error, however long ago the newest interaction was
ALLOW_FUTURE_NIGHT = (
    "{{ params.allow_future_night if params.allow_future_night is not none"
    " else ('' if params.run_date else 'true') }}"
)

SOURCE_FIELD = Param(
    None,
    type=["null", "string"],
    minLength=1,
    title="source",
    description="What to ingest: a folder, or a named source such as ml-100k. By default that of "
    "the Airflow variable nightrank_source.",
)
RUN_DATE_FIELD = Param(
    None,
    type=["null", "string"],
    format="date",
    title="run_date",
    description="Night to score and publish, by default the date of the run. An earlier night than "
    "the champion's training needs allow_later_model.",
)


class FinalInputErrors(RetryPolicy):
    """No second try after exit code 2, the command line's word for bad usage or bad input.

    Nor after a verb's 1, a defect; spark-submit's own 1 may also be a cluster that was away.
    """

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002
        max_tries: int,  # noqa: ARG002
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Return "fail" for what another try can't mend, else Airflow's own decision."""
        if re.search(r"\bcode(?: is:)? 2\.", str(exception)):
            return RetryDecision.fail("bad usage or bad input (exit code 2): see the task's log")
        if "exit code 1." in str(exception):
            return RetryDecision.fail("a defect of nightrank (exit code 1): see the task's log")
        return RetryDecision.default()


DEFAULTS: dict[str, Any] = {
    "owner": "nightrank",
    "retries": 2,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 4,
    "max_retry_delay": timedelta(minutes=30),
    "retry_policy": FinalInputErrors(),
}


def form(dag_id: str, **first: Param) -> dict[str, Param]:
    """Return the fields of a manual run: `first`, then the settings that the DAG's steps read."""
    fields = {name: Param(None, title=name, **field) for name, field in FORMS[dag_id].items()}
    return {**first, **fields}


def settings(dag_id: str) -> dict[str, str]:
    """Return templates of the environment that hands the form's settings to a command."""
    template = "{{ '' if params.NAME is none else params.NAME }}"
    return {f"NIGHTRANK_{name.upper()}": template.replace("NAME", name) for name in FORMS[dag_id]}


def filled(environment: dict[str, str] | None) -> dict[str, str]:
    """Return the variables of fields that somebody filled in."""
    return {name: value for name, value in (environment or {}).items() if value}


def configured(name: str) -> str:
    """Return a setting that no form has, as the commands find it on this worker.

    Raises AirflowFailException with what the command line says of a wrong one.
    """
    shown = subprocess.run(
        ["nightrank", "show-config", "--json"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if shown.returncode:
        raise AirflowFailException(shown.stderr.strip())
    return str(json.loads(shown.stdout)[name]["value"])


def refuse_unknown(context: Context) -> None:
    """Fail the task when the run was given a field that its form lacks.

    Raises AirflowFailException that names the field: a misspelt one would change nothing, silently.
    """
    given = context["dag_run"].conf or {}
    unknown = sorted(set(given) - set(context["dag"].params))
    if unknown:
        known = ", ".join(sorted(context["dag"].params))
        raise AirflowFailException(f"unknown field {unknown[0]!r}; known: {known}")


class LastLine(SubprocessHook):
    """Runs a command and keeps the last line that it printed."""

    last = ""

    def run_command(self, *arguments: Any, **given: Any) -> SubprocessResult:
        """Run it as Airflow's own hook does."""
        result = super().run_command(*arguments, **given)
        self.last = result.output
        return result


class Step(BashOperator):
    """A verb of the command line; `nightrank` is found on the worker's path."""

    @cached_property
    def subprocess_hook(self) -> LastLine:
        """Return the hook that runs the command."""
        return LastLine()

    def execute(self, context: Context) -> Any:
        """Run the command with the filled fields alone; its last line ends the log of a failure."""
        refuse_unknown(context)
        self.env = filled(self.env)
        if "$SOURCE" in str(self.bash_command) and not self.env.get("SOURCE"):
            raise AirflowFailException(NO_SOURCE)
        try:
            return super().execute(context)
        except AirflowException as error:
            raise AirflowException(f"{error} {self.subprocess_hook.last}") from None


class SparkStep(SparkSubmitOperator):
    """A verb as a Spark application, on the master of the connection `spark_default`."""

    def execute(self, context: Context) -> None:
        """Submit the application with the filled fields alone."""
        refuse_unknown(context)
        self.env_vars = filled(self.env_vars)
        # the driver's JVM starts before the job reads its settings
        memory = configured("spark_memory")
        self.conf = {**(self.conf or {}), "spark.driver.memory": memory}
        with chdir(PROJECT):
            super().execute(context)


def step(dag_id: str, verb: str, arguments: str = "", **given: Any) -> Step:
    """Return the task that runs `nightrank verb`; `arguments` may quote $SOURCE and $RUN_DATE."""
    values = {"$SOURCE": SOURCE, "$RUN_DATE": RUN_DATE}
    named = {name[1:]: value for name, value in values.items() if name in arguments}
    return Step(
        task_id=verb,
        bash_command=f"exec nightrank {verb} {arguments}".rstrip(),
        env={**settings(dag_id), **named},
        append_env=True,
        cwd=str(PROJECT),
        **given,
    )


def spark_step(dag_id: str, verb: str, **given: Any) -> SparkStep:
    """Return the task that submits `nightrank verb` for the run's date to Spark."""
    return SparkStep(
        task_id=verb,
        conn_id="spark_default",
        application=str(PROJECT / "jobs" / "cli.py"),
        application_args=[verb, f"--run-date={RUN_DATE}"],
        name=f"nightrank-{verb}",
        jars=str(PROJECT / ".deps" / "jars" / "*.jar"),
        conf={
            "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={LOG4J.as_uri()}",
            "spark.ui.enabled": "false",
        },
        # without it jobs/ would stand on the path as the application's folder, and its `spark` and
        # `search` would be packages of their own
        env_vars={
            "PYTHONSAFEPATH": "1",
            **settings(dag_id),
            "NIGHTRANK_ALLOW_FUTURE_NIGHT": ALLOW_FUTURE_NIGHT,
        },
        **given,
    )
