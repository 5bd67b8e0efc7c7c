"""What `tune` searches: some settings of `train`, each with a range or a list of values.

- Ranges are widened to include the configured value, so that the configured settings are a trial.
- Weights of losses and weight decay are chosen from steps of about a factor of three, and zero.

Trade-off: every trial has a value for every searched setting, even where it has no effect (the
tuning method when no layer is tuned), so that all trials fit one table. Epochs and batch sizes are
not searched, so that trials take about the same time and can be compared epoch by epoch.
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
