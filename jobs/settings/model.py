"""Every setting, defined once: type, default, bounds, help text and the steps that read it.

- The fields of `Settings` make the command-line flags, the keys of `nightrank.toml`, the
  `NIGHTRANK_*` environment variables and the form that Airflow shows for a manual retrain.
- Those of `train` stand in `jobs/settings/training.py`.
- `jobs/settings/layers.py` merges these four, and keeps the origin of each value.

Trade-off: one flat model. A name is the same word everywhere, at the price of longer names.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from jobs.settings.declaration import EVERY_STEP, setting
from jobs.settings.training import TrainingSettings

INNER_STEPS = {"tune": ("train",)}  # a command that does what others do reads their settings too


class _Data(BaseModel):
    """Where things are, and what counts in the data."""

    # where things are
    warehouse: str = setting(
        "warehouse", "Folder or URI of the tables and model versions.", EVERY_STEP, min_length=1
    )
    reports: str = setting(
        "reports", "Folder of the reports.",
        "export", "evaluate", "tune", "active-learning", "ingest", min_length=1,
    )  # fmt: skip
    mlflow_tracking_uri: str = setting(
        "", "MLflow store; empty: SQLite under the warehouse.",
        "train", "export", "evaluate", "promote", "models", "score", "publish", "active-learning",
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
    # data
    positive_threshold: float = setting(
        4.0, "An interaction with at least this value is a positive.", "train", "evaluate",
        allow_inf_nan=False,
    )  # fmt: skip
    seed: int = setting(
        0, "Seed of everything random.", "train", "export", "evaluate", "active-learning",
        ge=0, le=2**31 - 1,
    )  # fmt: skip


class Settings(TrainingSettings, _Data):
    """All settings of nightrank, checked once, immutable afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # tune
    trials: int = setting(
        20, "Trainings that the search of settings compares.", "tune", ge=2, le=10_000
    )
    tune_minutes: float = setting(
        60.0, "Minutes after which the search ends with what it has.", "tune", gt=0, le=100_000
    )
    # active-learning
    label_pairs: int = setting(
        100, "Pairs of user and item that are asked for.", "active-learning", ge=1, le=100_000
    )
    # export
    vocabulary_margin: int = setting(
        2000, "Frequent word pieces kept beside those of the texts.", "export", ge=0, le=10**6
    )
    keep_layers: int = setting(
        2, "Layers of the language model that pruning keeps.", "export", ge=1, le=48
    )
    keep_heads: float = setting(
        1.0, "Share of each layer's attention heads that pruning keeps.", "export", gt=0, le=1
    )
    keep_width: float = setting(
        0.25, "Share of each layer's feed-forward units that pruning keeps.", "export", gt=0, le=1
    )
    distil_texts: int = setting(
        36_000,
        "Texts that the pruned model learns from, over all passes.",
        "export",
        ge=0,
        le=10**8,
    )
    distil_learning_rate: float = setting(
        1e-3, "Learning rate of that distillation.", "export", gt=0, le=1
    )
    quantisation: Literal["auto", "int8", "fp16", "none"] = setting(
        "auto",
        "The encoder's numbers: int8 (dynamic), fp16, none (fp32); auto measures which suits best.",
        "export",
    )
    parity_tolerance: float = setting(
        0.03,
        "Relative loss of validation NDCG@10 by compression that the gate lets pass.",
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
        10_000, "Resamples of the users behind each interval.", "evaluate", ge=100, le=1_000_000
    )
    # promote
    promote_tolerance: float = setting(
        0.0,
        "Relative loss of NDCG@10 against the champion that the gate lets pass.",
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
    incremental: bool = setting(
        True,
        "Whether users whose lists can't have changed keep those of an earlier night.",
        "score",
    )
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Where scoring runs; auto takes CUDA where it works, else the CPU.",
        "export", "score",
    )  # fmt: skip
    # maintain
    keep_days: int = setting(
        30, "Days that nights and older versions of tables are kept.", "maintain", ge=7, le=3650
    )

    @classmethod
    def names_for(cls, step: str) -> list[str]:
        """Return the names of the settings whose flags the command `step` takes."""
        reading = {EVERY_STEP, step, *INNER_STEPS.get(step, ())}
        return [name for name in cls.model_fields if reading & set(steps_of(name))]


def steps_of(name: str) -> list[str]:
    """Return the steps that read the setting `name`."""
    extra = Settings.model_fields[name].json_schema_extra
    steps = extra["steps"] if isinstance(extra, dict) else []
    return [str(step) for step in steps] if isinstance(steps, list) else []
