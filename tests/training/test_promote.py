"""The gate of `promote`: figures that count, a floor, and two versions promoted at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from toy_version import champion

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import promote
from jobs.versions.registry import CHAMPION
from models.errors import InputError

pytestmark = pytest.mark.training

RIGHT = {"nights_ndcg@10": 0.20, "nights_best_baseline_ndcg@10": 0.18, "nights_gain_high": 0.03}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A warehouse with two versions, of which none is the champion yet."""
    made = Settings(warehouse=str(tmp_path))
    for seed in (1, 2):
        champion(made, ["a", "b"], seed=seed)
    client = Context.of(made).registry._client
    client.delete_registered_model_alias("nightrank", CHAMPION)
    return made


def measured(settings: Settings, version: str, **figures: float) -> None:
    named = {name.replace("_at_10", "@10"): value for name, value in figures.items()}
    Context.of(settings).registry.log_metrics(version, RIGHT | named)


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"nights_ndcg_at_10": float("nan")}, r"evaluated with no number \(nights_ndcg@10\)"),
        ({"nights_gain_high": float("nan")}, r"evaluated with no number \(nights_gain_high\)"),
        (
            {"nights_ndcg_at_10": 0.0, "nights_gain_high": -0.1},
            r"nights_ndcg@10 0\.0000, the best baseline 0\.1800; the interval .* ends at -0\.1000",
        ),
    ],
)
def test_a_first_champion_has_to_hold_its_own(
    settings: Settings, figures: dict[str, float], message: str
) -> None:
    measured(settings, "toy-1", **figures)
    with pytest.raises(InputError, match=message):
        promote.run(Context.of(settings), "toy-1")
    assert Context.of(settings).registry.version_of(CHAMPION) is None


def test_a_version_that_was_never_held_against_baselines_is_refused(settings: Settings) -> None:
    Context.of(settings).registry.log_metrics("toy-1", {"nights_ndcg@10": 0.2})
    with pytest.raises(InputError, match=r"not been evaluated \(nights_best_baseline_ndcg@10\)"):
        promote.run(Context.of(settings), "toy-1")


def test_within_its_interval_or_the_tolerance_a_version_passes(settings: Settings) -> None:
    measured(settings, "toy-1", nights_ndcg_at_10=0.17, nights_gain_high=0.01)
    assert promote.run(Context.of(settings), "toy-1")["champion"] == "toy-1"
    measured(settings, "toy-2", nights_ndcg_at_10=0.17, nights_gain_high=-0.001)
    with pytest.raises(InputError, match="the best baseline"):
        promote.run(Context.of(settings), "toy-2")
    tolerant = settings.model_copy(update={"promote_tolerance": 0.1})
    assert promote.run(Context.of(tolerant), "toy-2")["champion"] == "toy-2"


def test_of_two_that_are_promoted_at_once_the_better_one_ends_as_champion(
    settings: Settings,
) -> None:
    measured(settings, "toy-1", nights_ndcg_at_10=0.25)
    measured(settings, "toy-2", nights_ndcg_at_10=0.20)
    contexts = {version: Context.of(settings) for version in ("toy-1", "toy-2")}
    for context in contexts.values():
        context.registry.versions()  # the store is open, so that both begin at the same moment

    def attempt(version: str) -> bool:
        try:
            return promote.run(contexts[version], version)["champion"] == version
        except InputError as error:
            if "the champion stays" not in str(error):
                raise
            return False

    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            done = dict(zip(contexts, pool.map(attempt, contexts), strict=True))
        assert done["toy-1"]
        assert Context.of(settings).registry.version_of(CHAMPION) == "toy-1"
        client = contexts["toy-1"].registry._client
        client.delete_registered_model_alias("nightrank", CHAMPION)
