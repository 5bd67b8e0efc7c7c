"""Every setting, defined once: type, default, bounds, help text and the steps that read it.

- The fields of `Settings` make the command-line flags, the keys of `nightrank.toml`, the
  `NIGHTRANK_*` environment variables and the form that Airflow shows for a manual retrain.
- `jobs/settings_layers.py` merges these four, and keeps the origin of each value.

Trade-off: one flat model. A name is the same word everywhere, at the price of longer names.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

EVERY_STEP = "every"


def setting(default: Any, help_text: str, *steps: str, **bounds: Any) -> Any:
    """Declare a setting with its help text and the steps whose commands take its flag."""
    return Field(
        default,
        description=help_text,
        validate_default=True,
        json_schema_extra={"steps": list(steps)},
        **bounds,
    )


class Settings(BaseModel):
    """All settings of nightrank, checked once, immutable afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # where things are
    warehouse: str = setting(
        "warehouse", "Folder or URI of the tables and model versions.", EVERY_STEP, min_length=1
    )
    reports: str = setting("reports", "Folder of the reports.", "export", "evaluate", min_length=1)
    mlflow_tracking_uri: str = setting(
        "", "MLflow store; empty: SQLite under the warehouse.",
        "train", "export", "evaluate", "promote", "models", "score", "publish",
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
        0, "Seed of everything random.", "train", "export", "evaluate", ge=0, le=2**31 - 1
    )

    # train
    encoder: str = setting(
        "all-MiniLM-L6-v2",
        "Language model: a packaged name, a local folder or a hub name.",
        "train",
        min_length=1,
    )
    max_tokens: int = setting(
        48, "Tokens of a text that the language model reads.", "train", ge=8, le=512
    )
    factors: int = setting(
        448,
        "Dimensions of what histories say, profiles and popularity apart.",
        "train",
        ge=16,
        le=4096,
    )
    split: Literal["warm", "global_time", "cold_item", "cold_user", "cold_user_0"] = setting(
        "warm",
        "Split whose training part is learned from; only `warm` versions are promoted.",
        "train",
    )
    history_length: int = setting(
        200, "Newest positives of a user that count.", "train", ge=1, le=2000
    )
    epochs: int = setting(6, "Passes over the items' texts at most.", "train", ge=1, le=1000)
    batch_users: int = setting(64, "Users in a training step.", "train", ge=1, le=8192)
    bucket_items: int = setting(
        32,
        "Items in a training step, whose texts stand in for their factors.",
        "train",
        ge=1,
        le=1024,
    )
    learning_rate: float = setting(1e-3, "Learning rate of the towers.", "train", gt=0, le=1)
    encoder_learning_rate: float = setting(
        2e-4, "Learning rate of the language model.", "train", gt=0, le=1
    )
    weight_decay: float = setting(0.01, "AdamW's weight decay.", "train", ge=0, le=10)
    warmup_share: float = setting(
        0.1, "Share of the steps in which the learning rates rise.", "train", ge=0, lt=1
    )
    patience: int = setting(
        3, "Validations without a better NDCG before training stops.", "train", ge=1, le=100
    )
    epochs_between_validations: int = setting(
        2, "Passes over the items' texts between two validations.", "train", ge=1, le=100
    )
    tuned_layers: int = setting(
        1,
        "Layers of the language model that are tuned, from the top; 0: the heads alone.",
        "train",
        ge=0,
        le=48,
    )
    unfreeze_epochs: int = setting(
        0,
        "Passes until one more tuned layer opens, from the top; 0: all from the start.",
        "train",
        ge=0,
        le=1000,
    )
    distillation_weight: float = setting(
        1.0, "Weight of texts telling the teacher's factors.", "train", ge=0, le=100
    )
    ranking_weight: float = setting(
        0.1, "Weight of the softmax over the catalogue.", "train", ge=0, le=100
    )
    interest_weight: float = setting(
        0.2, "Weight of liking or not, once seen.", "train", ge=0, le=100
    )
    rating_weight: float = setting(0.0, "Weight of the value given.", "train", ge=0, le=100)
    cosine_weight: float = setting(
        0.0, "Weight of users being near the items that they like.", "train", ge=0, le=100
    )
    learned_weights: bool = setting(
        False, "Whether uncertainty changes these weights in training.", "train"
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

    @classmethod
    def names_for(cls, step: str) -> list[str]:
        """Return the names of the settings whose flags the command `step` takes."""
        return [name for name in cls.model_fields if {EVERY_STEP, step} & set(steps_of(name))]


def steps_of(name: str) -> list[str]:
    """Return the steps that read the setting `name`."""
    extra = Settings.model_fields[name].json_schema_extra
    steps = extra["steps"] if isinstance(extra, dict) else []
    return [str(step) for step in steps] if isinstance(steps, list) else []
