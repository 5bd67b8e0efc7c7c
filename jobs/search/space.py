"""What `tune` searches: some settings of `train`, each over a range or a few values.

- The ranges are widened to what is configured, so that the configured settings are a trial too.
- Weights of losses and of decay are chosen from steps of about three, zero among them.

Trade-off: every trial has a value for each of them, also where it says nothing (the method of
tuning without a tuned layer), so that all trials are told in one table; epochs and batches stay
as configured, so that trials take alike long and compare epoch by epoch.
"""

from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from jobs.settings.model import Settings

MOST_LAYERS = 6
RANGES = {
    "encoder_learning_rate": FloatDistribution(2e-5, 1e-3, log=True),
    "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
}
CHOICES: dict[str, tuple[Any, ...]] = {
    "weight_decay": (0.0, 0.01, 0.1),
    "tuning": ("full", "lora", "adapters"),
    "bucket_items": (16, 32, 64),
    "distillation_weight": (0.3, 1.0, 3.0),
    "ranking_weight": (0.0, 0.03, 0.1, 0.3),
    "interest_weight": (0.0, 0.1, 0.2, 0.5),
    "rating_weight": (0.0, 0.1, 0.3),
    "cosine_weight": (0.0, 0.1, 0.3),
}


def search_space(settings: Settings, depth: int) -> dict[str, BaseDistribution]:
    """Return the distribution of each searched setting; all hold what `settings` say.

    `depth` is the number of layers of the language model.
    """
    layers = settings.tuned_layers
    space: dict[str, BaseDistribution] = {
        "tuned_layers": IntDistribution(0, max(min(depth, MOST_LAYERS), layers))
    }
    for name, rates in RANGES.items():
        value = getattr(settings, name)
        low, high = min(rates.low, value), max(rates.high, value)
        space[name] = FloatDistribution(low, high, log=rates.log)
    for name, choices in CHOICES.items():
        space[name] = CategoricalDistribution(
            tuple(dict.fromkeys((*choices, configured(settings)[name])))
        )
    return space


def configured(settings: Settings) -> dict[str, Any]:
    """Return what `settings` say of the searched ones."""
    return {name: getattr(settings, name) for name in ("tuned_layers", *RANGES, *CHOICES)}


def chosen(settings: Settings, parameters: dict[str, Any]) -> Settings:
    """Return `settings` with the searched ones as a trial has them."""
    return Settings(**(settings.model_dump() | parameters))
