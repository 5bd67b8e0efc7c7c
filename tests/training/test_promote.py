"""The gate of `promote`: the floor, the exam against the champion, and the refit that serves."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fitted_version import (
    FLOOR,
    ITEMS_OF_A_KIND,
    KINDS,
    add_items,
    add_likes,
    add_week,
    damaged,
    judged,
    with_own_encoder,
)
from numpy.typing import NDArray
from staging import copied
from toy_version import champion

from jobs.context import Context
from jobs.gate.refit_guard import Likeness, refuse_surprise
from jobs.settings.model import Settings
from jobs.steps import evaluate, promote
from jobs.versions.registry import CANDIDATE, CHAMPION
from jobs.warehouse.delta import Warehouse
from models.errors import InputError
from models.serving.bundle import ENCODER, ITEM_FACTORS
from models.serving.text_vectors import TextVectors

pytestmark = pytest.mark.training

WEEKS, NOISE = 10, 4.0


@pytest.fixture(scope="module")
def ten_weeks(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Ten weeks of likes, and a version that learned from them, but no champion."""
    settings = Settings(
        warehouse=str(tmp_path_factory.mktemp("weeks") / "warehouse"), bootstrap_resamples=4000
    )
    warehouse = Warehouse(settings.warehouse)
    add_items(warehouse)
    for week in range(WEEKS):
        add_week(warehouse, week)
    judged(settings, "one")
    return settings


@pytest.fixture
def settings(ten_weeks: Settings, tmp_path: Path) -> Settings:
    """A copy for one test."""
    return copied(ten_weeks, tmp_path)


def the_champion(settings: Settings) -> str | None:
    return Context.of(settings).registry.version_of(CHAMPION)


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"nights_ndcg@10": float("nan")}, r"evaluated with no number \(nights_ndcg@10\)"),
        ({"nights_gain_high": float("nan")}, r"evaluated with no number \(nights_gain_high\)"),
        (
            {"nights_ndcg@10": 0.0, "nights_gain_high": -0.05},
            r"nights_ndcg@10 0\.0000, the best baseline 0\.1000; the interval .* ends at -0\.0500",
        ),
    ],
)
def test_a_first_champion_has_to_hold_its_own(
    settings: Settings, figures: dict[str, float], message: str
) -> None:
    Context.of(settings).registry.log_metrics("one", FLOOR | figures)
    with pytest.raises(InputError, match=message):
        promote.run(Context.of(settings), "one")
    assert the_champion(settings) is None


def test_a_version_that_was_never_held_against_baselines_is_refused(settings: Settings) -> None:
    toy = champion(settings, ["i0"], seed=3)
    Context.of(settings).registry.log_metrics(toy.version, {"nights_ndcg@10": 0.2})
    with pytest.raises(InputError, match=r"not been evaluated \(nights_best_baseline_ndcg@10\)"):
        promote.run(Context.of(settings), toy.version)


def test_within_its_interval_or_the_tolerance_a_version_passes_the_floor(
    settings: Settings,
) -> None:
    metrics = Context.of(settings).registry.log_metrics
    metrics("one", {"nights_ndcg@10": 0.09, "nights_gain_high": 0.01})
    assert promote.run(Context.of(settings), "one")["judged"] == "one"
    metrics("one", {"nights_gain_high": -0.001})
    with pytest.raises(InputError, match="the best baseline"):
        promote.run(Context.of(settings), "one")
    tolerant = settings.model_copy(update={"promote_tolerance": 0.2})
    assert promote.run(Context.of(tolerant), "one")["judged"] == "one"


def test_what_serves_is_fitted_to_everything_and_keeps_the_encoder(settings: Settings) -> None:
    done = promote.run(Context.of(settings))
    registry = Context.of(settings).registry
    served, before = registry.champion(), registry.candidate("one")
    assert (done["champion"], done["judged"]) == (served.version, "one")
    assert registry.version_of(CANDIDATE) == "one"
    assert served.manifest.judged_version == "one"
    assert served.manifest.files[ENCODER] == before.manifest.files[ENCODER]
    assert served.manifest.files[ITEM_FACTORS] != before.manifest.files[ITEM_FACTORS]
    assert registry.metrics_of(served.version) == registry.metrics_of("one")
    # once more is the same version; with another week in the tables it's another
    assert promote.run(Context.of(settings))["champion"] == served.version
    add_week(Warehouse(settings.warehouse), WEEKS)
    renewed = promote.run(Context.of(settings))
    assert renewed["champion"] != served.version
    assert (renewed["before"], renewed["exam"]) == (served.version, [])


def test_a_refit_knows_what_was_withheld_from_the_judged_version(settings: Settings) -> None:
    """An item that is liked in the last week alone has factors in the refit, and none before."""
    warehouse = Warehouse(settings.warehouse)
    number = KINDS * ITEMS_OF_A_KIND
    last = f"i{number}"
    add_items(warehouse, [number])
    add_likes(warehouse, [f"u{user}" for user in range(40)], last, WEEKS)
    judged(settings, "two")
    promote.run(Context.of(settings), "two")
    registry = Context.of(settings).registry
    assert last not in registry.candidate("two").item_ids
    assert last in registry.champion().item_ids


def test_a_promotion_encodes_a_text_once_by_each_encoder(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exam, refit and guard together: champion and candidate have encoders of their own."""
    promote.run(Context.of(settings))
    candidate = with_own_encoder(settings, judged(settings, "two")).version
    encoded, encode_one = [], TextVectors._one

    def counted(self: TextVectors, text: str) -> NDArray[np.float32]:
        encoded.append(text)
        return encode_one(self, text)

    monkeypatch.setattr(TextVectors, "_one", counted)
    done = promote.run(Context.of(settings), candidate)
    assert (done["judged"], len(done["exam"])) == (candidate, 2)
    times = Counter(encoded)
    assert len(times) == KINDS * ITEMS_OF_A_KIND + 1  # and the empty profile
    assert set(times.values()) == {2}


def test_as_judged_serves_the_version_itself(settings: Settings) -> None:
    assert promote.run(Context.of(settings), as_judged=True)["champion"] == "one"


def test_a_dry_run_shows_the_exam_and_changes_nothing(settings: Settings) -> None:
    promote.run(Context.of(settings))
    before = the_champion(settings)
    damaged(settings, Context.of(settings).registry.candidate("one"), NOISE)
    runs = Warehouse(settings.warehouse).read("runs").num_rows
    found = promote.run(Context.of(settings), dry_run=True)
    assert [one["asked"] for one in found["exam"]] == ["last visit", "night"]
    assert not all(one["passed"] for one in found["exam"])
    assert "last visit" in found["text"]
    assert the_champion(settings) == before
    assert Warehouse(settings.warehouse).read("runs").num_rows == runs


def test_over_eight_weeks_a_retrain_passes_and_a_damaged_one_never(settings: Settings) -> None:
    promote.run(Context.of(settings))
    for week in range(WEEKS, WEEKS + 8):
        add_week(Warehouse(settings.warehouse), week)
        retrain = judged(settings, f"week{week}")
        damaged(settings, retrain, NOISE)
        with pytest.raises(InputError, match=r"gate: asked as .* the champion stays"):
            promote.run(Context.of(settings))
        done = promote.run(Context.of(settings), retrain.version, as_judged=True)
        assert done["champion"] == retrain.version


def test_versions_of_different_splits_have_no_exam_in_common(settings: Settings) -> None:
    promote.run(Context.of(settings))
    judged(settings, "items", split="cold_item")
    with pytest.raises(InputError, match="trained for split cold_item, the champion one for warm"):
        promote.run(Context.of(settings))


def test_a_damaged_champion_does_not_stop_another(settings: Settings) -> None:
    promote.run(Context.of(settings))
    registry = Context.of(settings).registry
    (registry.champion().folder / "ranker.onnx").write_bytes(b"")
    judged(settings, "two")
    assert promote.run(Context.of(settings))["judged"] == "two"


def test_a_version_without_a_note_of_its_fit_serves_as_judged(settings: Settings) -> None:
    toy = champion(settings, ["i0", "i1"], seed=4)
    registry = Context.of(settings).registry
    registry.log_metrics(toy.version, FLOOR)
    registry._client.delete_registered_model_alias("nightrank", CHAMPION)
    assert promote.run(Context.of(settings), toy.version)["champion"] == toy.version


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (Likeness(0.1, 1.0), r"overlap .* is 0\.10, and setting `refit_overlap` asks for 0\.2"),
        (Likeness(0.9, 0.3), r"coverage .* is 0\.30, and setting `refit_coverage` asks for 0\.5"),
    ],
)
def test_a_refit_that_surprises_is_refused(found: Likeness, message: str) -> None:
    with pytest.raises(InputError, match=message):
        refuse_surprise(found, 0.2, 0.5)


def test_a_refit_is_evaluated_as_the_version_that_was_judged(settings: Settings) -> None:
    promote.run(Context.of(settings))
    with pytest.raises(InputError, match="model version one "):
        evaluate.run(
            Context.of(settings.model_copy(update={"positive_threshold": 3.0})),
            model_version=the_champion(settings),
        )


def test_of_two_that_are_promoted_at_once_the_better_one_ends_as_champion(
    settings: Settings,
) -> None:
    worse = damaged(settings, Context.of(settings).registry.candidate("one"), NOISE)
    contexts = {version: Context.of(settings) for version in ("one", worse.version)}
    for context in contexts.values():
        context.registry.versions()  # the store is open, so that both begin at the same moment

    def attempt(version: str) -> bool:
        try:
            # without a refit: torch exports one graph at a time in a process
            done = promote.run(contexts[version], version, as_judged=True)
            return bool(done["judged"] == version)
        except InputError as error:
            if "the champion stays" not in str(error):
                raise
            return False

    with ThreadPoolExecutor(2) as pool:
        done = dict(zip(contexts, pool.map(attempt, contexts), strict=True))
    assert done["one"]
    registry = contexts["one"].registry
    assert registry.judged(registry.version_of(CHAMPION)).version == "one"
