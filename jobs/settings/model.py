"""Every setting: the options of the methods, and what the jobs themselves have to be told.

- A method's options are declared beside it (`models/*/options.py`), those of the jobs here.
- The fields of `Settings` make the command-line flags, the keys of `nightrank.toml`, the
  `NIGHTRANK_*` environment variables and the form that Airflow shows for a manual run.
- `jobs/settings/layers.py` merges file, environment and flags, and keeps the origin of each value.

Trade-off: one flat model. A name is the same word everywhere, at the price of longer names.
"""

import tomllib
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from jobs.settings.audit import AuditOptions
from jobs.settings.declaration import EVERY_STEP, setting
from models.compression.options import QuantisationOptions, StudentOptions
from models.data.options import AugmentationOptions, RepeatOptions
from models.factors.options import StartOptions
from models.network.options import AdaptationOptions, EncoderOptions, LossOptions
from models.objective.options import ExampleOptions, RegularisationOptions
from models.options import Options, SeedOptions
from models.training.options import LoopOptions

INNER_STEPS = {"tune": ("train",)}  # a command that does what others do reads their settings too
READERS: dict[type[Options], tuple[str, ...]] = {
    SeedOptions: ("train", "export", "evaluate", "active-learning"),
    RepeatOptions: ("train", "evaluate", "score"),
    EncoderOptions: ("train",),
    StartOptions: ("train",),
    AdaptationOptions: ("train",),
    LossOptions: ("train",),
    RegularisationOptions: ("train",),
    ExampleOptions: ("train",),
    AugmentationOptions: ("train",),
    LoopOptions: ("train",),
    StudentOptions: ("export",),
    QuantisationOptions: ("export",),
}


def _pairs(value: object) -> object:
    """Return the dict that a text such as `a=b,c=d` or an inline table of TOML says.

    Anything else is returned as it is.
    """
    if not isinstance(value, str):
        return value
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    pairs = [pair.split("=", 1) for pair in value.strip("{}").split(",") if pair.strip()]
    if any(len(pair) < 2 for pair in pairs):
        raise ValueError("expected FIELD=COLUMN, several of them with commas between")
    return {name.strip(): column.strip() for name, column in pairs}


class _Data(Options):
    """Where things are, and what counts in the data."""

    # where things are
    warehouse: str = setting(
        "warehouse", "Folder or URI of the tables and model versions.", EVERY_STEP, min_length=1
    )
    reports: str = setting(
        "reports", "Folder of the reports.",
        "export", "evaluate", "tune", "active-learning", "ingest", "doctor", "forget", "explain",
        min_length=1,
    )  # fmt: skip
    mlflow_tracking_uri: str = setting(
        "", "MLflow store; empty: SQLite under the warehouse.",
        "train", "export", "evaluate", "promote", "models", "score", "publish", "active-learning",
        "doctor", "maintain", "rollback", "reproduce", "explain",
    )  # fmt: skip
    spark_master: str = setting(
        "local[*]",
        "Spark's master; a master given by spark-submit wins.",
        "ingest",
        "evaluate",
        "score",
        "publish",
        min_length=1,
    )
    spark_memory: str = setting(
        "3g",
        "Memory of Spark's driver, as Spark writes it.",
        "ingest",
        "evaluate",
        "score",
        "publish",
        pattern=r"^[1-9][0-9]*[mg]$",
    )
    memory_gb: float = setting(
        0.0,
        "Memory in GB (10^9 bytes) that a step may take; 0: what the machine, or its container, "
        "has free. Data that need more are refused before anything is read.",
        "train", "evaluate", "promote",
        ge=0, le=100_000,
    )  # fmt: skip
    # data
    positive_threshold: float = setting(
        4.0, "An interaction with at least this value is a positive.", "train", "evaluate",
        allow_inf_nan=False,
    )  # fmt: skip
    columns: Annotated[dict[str, str | dict[str, Any]], BeforeValidator(_pairs)] = setting(
        {}, "The source's columns for fields of the tables: user_id=customer_id,item_id=sku; or a "
        "constant, the kinds of a column, or a template.",
        "ingest",
    )  # fmt: skip
    ingest_mode: Literal["merge", "snapshot", "partial"] = setting(
        "merge",
        "What a source holds: rows to merge, a snapshot of all (what it lacks goes), or some "
        "columns alone (the others stay).",
        "ingest",
    )
    max_rejected_share: float = setting(
        1.0, "Largest share of a source's rows that may be bad; beyond it no table is changed.",
        "ingest", ge=0, le=1,
    )  # fmt: skip
    split: Literal["warm", "global_time", "cold_item", "cold_user", "cold_user_0"] = setting(
        "warm",
        "Split on whose training part a version is trained; only `warm` versions are promoted.",
        "train",
    )


class Settings(  # the fields of the last class come first, those of `Settings` itself last
    QuantisationOptions,
    StudentOptions,
    LoopOptions,
    AugmentationOptions,
    ExampleOptions,
    RegularisationOptions,
    LossOptions,
    AdaptationOptions,
    StartOptions,
    EncoderOptions,
    SeedOptions,
    RepeatOptions,
    AuditOptions,
    _Data,
):
    """All settings of nightrank, checked once, immutable afterwards."""

    # tune
    trials: int = setting(
        20, "Trainings that the search of settings compares.", "tune", ge=2, le=10_000
    )
    tune_minutes: float = setting(
        60.0, "Minutes after which the search ends with what it has.", "tune", gt=0, le=100_000
    )
    # active-learning
    label_pairs: int = setting(
        100,
        "Pairs of user and item whose labels are asked for.",
        "active-learning",
        ge=1,
        le=100_000,
    )
    # export
    parity_tolerance: float = setting(
        0.03,
        "Largest relative loss of validation NDCG@10 by compression that the gate accepts.",
        "export",
        ge=0,
        le=1,
    )
    compression_ladder: bool = setting(
        False, "Measure every stage of the compression for the report; takes minutes.", "export"
    )
    # evaluate
    data_name: str = setting(
        "", "Name of the data in the report; empty: what ingest called it.", "evaluate"
    )
    bootstrap_resamples: int = setting(
        10_000, "Resamples of the users behind each interval.", "evaluate", "promote",
        ge=100, le=1_000_000,
    )  # fmt: skip
    # promote
    promote_tolerance: float = setting(
        0.0,
        "Largest relative loss of NDCG@10 against the champion that the gate accepts.",
        "promote",
        ge=0,
        le=1,
    )
    refit_overlap: float = setting(
        0.1,
        "Least share of a user's items that the refitted model must list as the judged one does.",
        "promote",
        ge=0,
        le=1,
    )
    refit_coverage: float = setting(
        0.5,
        "Least number of different items on the refitted model's lists, as a share of those on the "
        "judged model's.",
        "promote",
        ge=0,
        le=1,
    )
    # score and publish
    k: int = setting(10, "Items in each user's list.", "score", ge=1, le=1000)
    score_batch_users: int = setting(
        512, "Users that one matrix product scores.", "score", ge=1, le=65536
    )
    score_memory_mb: int = setting(
        64,
        "Memory for a task's scores in MB; it sets how many items a block holds.",
        "score",
        ge=1,
        le=65536,
    )
    asked: Literal["night", "last_visit"] = setting(
        "night",
        "When users are asked: on the night, days after their last visit, or right after that "
        "visit, as for a mail that follows it.",
        "score",
        "explain",
    )
    allow_future_night: bool = setting(
        False,
        "Whether a night may lie more than a day ahead of the clock.",
        "score",
    )
    allow_later_model: bool = setting(
        False,
        "Whether a night may be scored by a champion that was trained on later interactions.",
        "score",
    )
    incremental: bool = setting(
        True,
        "Whether users whose lists can't have changed keep those of an earlier night.",
        "score",
    )
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Where scoring runs; auto takes CUDA where it works, else the CPU.",
        "export", "score", "reproduce",
    )  # fmt: skip
    # sql
    sql_seconds: float = setting(
        600.0, "Seconds after which a query is stopped.", "sql", gt=0, le=86_400
    )
    sql_memory_mb: int = setting(
        4096, "Memory of a query in MB; beyond it the query is stopped.", "sql", ge=64, le=2**24
    )
    sql_rows: int = setting(
        1_000_000, "Most rows that a query may return; one with more is refused.", "sql",
        ge=1, le=10**9,
    )  # fmt: skip
    # maintain
    keep_nights: int = setting(
        30, "Published nights that are kept, the newest ones.", "maintain", ge=1, le=3650
    )
    keep_days: int = setting(
        30, "Days that older versions of tables are kept.", "maintain", ge=7, le=3650
    )

    keep_versions: int = setting(
        5, "Newest model versions that are kept, beside those of aliases and kept nights.",
        "maintain", ge=1, le=10_000,
    )  # fmt: skip
    keep_ingests: int = setting(
        30, "Newest ingests whose rejected rows are kept.", "maintain", ge=1, le=100_000
    )
    keep_runs: int = setting(
        10_000, "Newest rows of `runs` that are kept, beside those that tell the visible night.",
        "maintain", ge=100, le=10**9,
    )  # fmt: skip

    @classmethod
    def names_for(cls, step: str) -> list[str]:
        """Return the names of the settings whose flags the command `step` takes."""
        reading = {EVERY_STEP, step, *INNER_STEPS.get(step, ())}
        return [name for name in cls.model_fields if reading & set(steps_of(name))]


def steps_of(name: str) -> list[str]:
    """Return the steps that read the setting `name`."""
    for options, steps in READERS.items():
        if name in options.model_fields:
            return list(steps)
    extra = Settings.model_fields[name].json_schema_extra
    declared = extra["steps"] if isinstance(extra, dict) else []
    return [str(step) for step in declared] if isinstance(declared, list) else []
