"""The command line: one verb, one step.

- Each verb's flags are the settings that its step reads, made from the settings model.
- A step is `run(context, **arguments)` of its module; it returns what it did as a flat dict.
- Exit 0 on success, 2 on bad usage or bad input, 3 where the platform failed (`jobs.failures`),
  each with one line; never a bare traceback.

Trade-off: steps are imported when called, so that `nightrank --help` starts at once.
"""

import importlib
import io
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from jobs.credentials import without_credentials
from jobs.failures import VerbError, explained
from jobs.json_text import json_text
from jobs.settings.layers import load_settings
from jobs.settings.model import Settings
from jobs.settings.shapes import shape
from jobs.suggestions import did_you_mean
from models.errors import InputError

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Verbs(click.Group):
    """The verbs; a mistyped one gets the verb that is most like it."""

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb's name, the verb and its arguments; UsageError where there is none."""
        name = arguments[0]
        if self.get_command(context, name) is None and not name.startswith("-"):
            known = did_you_mean(name, self.commands)
            context.fail(f"No such command '{name}'{known or ': see nightrank --help'}")
        return super().resolve_command(context, arguments)


@click.group(
    cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="nightrank")
def cli() -> None:
    """Nightly recommendations from a fine-tuned language model, delivered as SQL tables."""


def verb(name: str, help_text: str, *parameters: click.Parameter, room: str = "jobs.steps") -> None:
    """Add the command `name`, which runs the `run` of the module of that name in `room`."""

    def call(config: Path | None, as_json: bool, **given: Any) -> None:
        flags = {key: given.pop(key) for key in Settings.names_for(name)}
        settings = load_settings(config, flags)
        with explained(name, settings.values.warehouse):
            context = importlib.import_module("jobs.context").Context.of(settings.values)
            step = importlib.import_module(f"{room}.{name.replace('-', '_')}")
            result = step.run(context, **given)
        code = result.pop("exit_code", 0)
        show(result, as_json)
        if code:
            sys.exit(code)

    own = [
        click.Option(["--config"], type=click.Path(path_type=Path), help="Settings file (TOML)."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the result as JSON."),
    ]
    options = [_option(setting_name) for setting_name in Settings.names_for(name)]
    cli.add_command(
        click.Command(name, callback=call, params=[*parameters, *own, *options], help=help_text)
    )


def _option(name: str) -> click.Option:
    field = Settings.model_fields[name]
    # what may be true or false is true where its flag stands alone
    alone: dict[str, Any] = {"is_flag": False, "flag_value": "true"}
    return click.Option(
        [f"--{name.replace('_', '-')}", name],
        help=f"{field.description} [default: {field.default}]",
        metavar=f"<{shape(name)}>",
        **(alone if field.annotation is bool else {}),
    )


def show(result: dict[str, Any], as_json: bool) -> None:
    """Print a step's result: JSON for programs, `text` or aligned lines for people."""
    text = result.pop("text", None)
    if as_json:
        click.echo(json_text(result))
    elif text is not None:
        click.echo(text)
    else:
        width = max(map(len, result), default=0)
        for key, value in result.items():
            click.echo(f"{key:<{width}}  {value}")


RUN_DATE = click.Option(
    ["--run-date"], help="Night, YYYY-MM-DD. [default: the day after the newest interaction]"
)
VERSION = click.Option(["--model-version"], help="Model version. [default: the candidate]")

verb(
    "ingest",
    "Check SOURCE and merge it into the tables: a folder, a database, a named data set, or several "
    "of them; items=PLACE takes one table of a place.",
    click.Argument(["source"], nargs=-1, required=True),
    click.Option(["--run-date"], help="What {run_date} in SOURCE stands for, YYYY-MM-DD."),
    click.Option(
        ["--column"], multiple=True, metavar="FIELD=COLUMN",
        help="The source's column for a field, as user_id=customer_id; may be repeated.",
    ),
    click.Option(["--dry-run"], is_flag=True, help="Write nothing; show what would come of it."),
    click.Option(["--snapshot"], is_flag=True, help="What SOURCE lacks goes: `ingest_mode`."),
    click.Option(["--partial"], is_flag=True, help="Change the columns of SOURCE alone."),
)  # fmt: skip
verb(
    "init",
    "Write a sample shop, a file of all settings and a README into FOLDER, to begin with.",
    click.Argument(["folder"]),
    room="jobs.steps.setup",
)
verb(
    "views",
    "Print the SQL that makes the views `recommendations_latest` and `recommendations_named`.",
    click.Option(["--engine"], default="duckdb", help="Whose: duckdb (default) or spark."),
    room="jobs.steps.setup",
)
verb("train", "Fine-tune the language model; write a candidate version.")
verb("tune", "Search settings of `train` on the validation part; write the best to a file.")
verb("export", "Prune, export through Optimum, quantise, and gate on parity.", VERSION)
verb(
    "evaluate",
    "Report the ranking quality of a version.",
    click.Option(["--split"], help="Split to report, or `all`. [default: nights and warm]"),
    VERSION,
)
verb(
    "promote",
    "Make VERSION (default: the candidate) the champion, if the gate lets it.",
    click.Argument(["version"], required=False),
    click.Option(["--dry-run"], is_flag=True, help="Show the exam; change nothing."),
    click.Option(
        ["--as-judged"], is_flag=True, help="Serve VERSION itself, not its refit on everything."
    ),
)
verb("score", "Score every user-item pair; stage each user's top k.", RUN_DATE)
verb(
    "publish",
    "Audit the staged night and make it visible in one commit.",
    RUN_DATE,
    click.Option(
        ["--accept"], multiple=True, metavar="CHECK=REASON",
        help="Publish although this figure is out of bounds; may be repeated.",
    ),
)  # fmt: skip
verb(
    "rollback",
    "Point the view at an earlier night, and return to its model.",
    click.Option(["--to"], help="Night, YYYY-MM-DD. [default: the one before]"),
    click.Option(
        ["--from", "leaving"],
        help="Visible night to leave; nothing changes where it isn't visible any more.",
    ),
    click.Option(
        ["--keep-model"], is_flag=True, help="Leave the champion; else that night's model is it."
    ),
)
verb(
    "diff",
    "Show what changed between two nights: users, items, churn and overlap.",
    click.Argument(["before"], metavar="DATE"),
    click.Argument(["after"], metavar="DATE"),
    room="jobs.steps.history",
)
verb(
    "explain",
    "Show what adds how much to the champion's score of an item for a user.",
    click.Argument(["user"], metavar="USER"),
    click.Argument(["item"], metavar="ITEM"),
    RUN_DATE,
    room="jobs.steps.history",
)
verb(
    "reproduce",
    "Compute a published night again from its lineage, and prove it equal.",
    click.Argument(["date"], metavar="DATE"),
    room="jobs.steps.history",
)
verb(
    "forget",
    "Erase every row about a user, for good, and every older version that has one.",
    click.Argument(["user"], metavar="USER", nargs=-1),
    click.Option(["--file"], type=click.Path(path_type=Path), help="User ids, one a line."),
    room="jobs.steps.history",
)
verb("maintain", "Remove old nights, join small files and delete what nobody reads.")
verb(
    "active-learning",
    "Choose the pairs whose labels would teach most; `ingest active_learning` takes them back.",
    VERSION,
)
verb("sql", "Query the tables; no cluster needed.", click.Argument(["query"]))
verb(
    "doctor",
    "Read everything, change nothing; say what is damaged and what mends it. Exit 1 if any is.",
    click.Option(["--repair"], is_flag=True, help="Mend what can be mended without loss."),
    room="jobs.steps.upkeep",
)
verb("models", "List the versions, their metrics and which is champion.")


@cli.command("show-config", help="Print every setting, its value and where it came from.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings file (TOML).")
@click.option("--warehouse", help=Settings.model_fields["warehouse"].description)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def show_config(config: Path | None, warehouse: str | None, as_json: bool) -> None:
    """Print the merged settings."""
    loaded = load_settings(config, {"warehouse": warehouse})
    values = loaded.values.model_dump()
    for name, value in values.items():
        values[name] = without_credentials(value) if isinstance(value, str) else value
    rows = {name: {"value": values[name], "origin": loaded.origins[name]} for name in values}
    lines = {name: f"{row['value']!s:<24} {row['origin']}" for name, row in rows.items()}
    show(rows if as_json else lines, as_json)


def _escape_what_the_terminal_lacks() -> None:
    """Let a terminal or pipe that isn't UTF-8 show escapes instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with 0, or with one line and 2 or 3, as the module says."""
    _escape_what_the_terminal_lacks()
    _log_without_credentials()
    try:
        with explained("nightrank"):
            cli.main(arguments, prog_name="nightrank", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        sys.exit(_refuse(error.format_message()))
    except InputError as error:
        sys.exit(_refuse(str(error)))
    except VerbError as failure:
        sys.exit(_refuse(str(failure), failure.code))
    except click.Abort:
        sys.exit(_refuse("interrupted"))


class _Hiding(logging.Formatter):
    """Log lines without credentials and tracebacks, whichever library writes them."""

    def format(self, record: logging.LogRecord) -> str:
        return without_credentials(super().format(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  (its name in logging)
        return " ".join(f"{ei[0].__name__}: {ei[1]}".split()) if ei[1] is not None else ""


def _log_without_credentials() -> None:
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")  # else it writes by itself
    handler = logging.StreamHandler()
    handler.setFormatter(_Hiding(LOG_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # the first tells of its plugins at every start, the second of an error that we tell ourselves
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _refuse(message: str, code: int = 2) -> int:
    line = without_credentials(" ".join(message.split()))
    click.echo(f"nightrank: {line}", err=True)
    return code


if __name__ == "__main__":
    main()
