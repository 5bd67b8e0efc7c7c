"""tune: real trainings on the slice of MovieLens, killed, resumed, pruned and refused."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState, create_trial

from jobs.cli import main
from jobs.context import Context
from jobs.reports.search import write_tune_report
from jobs.search.space import chosen, configured, search_space
from jobs.search.study import CONFIGURED, ERROR, TimeIsUpError, TrialWatch, open_study
from jobs.settings.layers import load_settings
from jobs.settings.model import Settings
from jobs.steps import tune
from jobs.versions.trained import training_task
from jobs.warehouse.dataset import read_dataset
from jobs.warehouse.delta import Warehouse
from models.data.attributes import AttributeColumns
from models.errors import InputError
from models.training.finetune import finetune
from models.training.options import FinetuneOptions
from models.training.weights import start_encoder

pytestmark = pytest.mark.training

QUICK = {
    "epochs": 1,
    "epochs_between_validations": 1,
    "batch_users": 32,
    "bucket_items": 64,
    "max_tokens": 16,
    "factors": 32,
    "history_length": 50,
    "trials": 2,
}
PROJECT = Path(__file__).parents[2]


def quick(root: Path, **changed: Any) -> Settings:
    return Settings(warehouse=str(root), reports=str(root / "reports"), **(QUICK | changed))


@pytest.fixture(scope="module")
def tuned(ingested: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Any]:
    """An undisturbed search and its result."""
    root = tmp_path_factory.mktemp("tuned") / "warehouse"
    shutil.copytree(ingested, root)
    settings = quick(root)
    return settings, tune.run(Context.of(settings))


def trials_of(settings: Settings) -> list[optuna.trial.FrozenTrial]:
    file = Path(settings.warehouse, "models", tune.FILE)
    return optuna.load_study(study_name=None, storage=f"sqlite:///{file}").trials


def outcome(settings: Settings) -> list[tuple[Any, ...]]:
    return [
        (trial.params, trial.state, trial.intermediate_values, trial.value)
        for trial in trials_of(settings)
        if trial.state != TrialState.FAIL
    ]


def test_the_search_compares_with_what_is_configured(tuned: tuple[Settings, Any]) -> None:
    settings, result = tuned
    first, *others = trials_of(settings)
    assert first.params == configured(settings)
    assert all(trial.params != first.params for trial in others)
    assert (result["trials"], result["failed"]) == (2, 0)
    assert result["defaults"] == first.value
    assert result["best"] == max(
        t.value for t in [first, *others] if t.state == TrialState.COMPLETE
    )
    assert result["beats_defaults"] == (result["best"] > first.value)
    assert set(first.intermediate_values) == {0, 1}


def test_the_file_is_what_train_takes_and_the_page_says_which_won(
    tuned: tuple[Settings, Any],
) -> None:
    settings, result = tuned
    best = max(
        (t for t in trials_of(settings) if t.state == TrialState.COMPLETE), key=lambda t: t.value
    )
    loaded = load_settings(Path(result["config"]), {}, {}).values
    wanted = chosen(settings, best.params).model_dump(exclude={"warehouse", "reports", "trials"})
    assert loaded.model_dump(exclude={"warehouse", "reports", "trials"}) == wanted
    written = tomllib.loads(Path(result["config"]).read_text("utf-8"))
    assert all(value != getattr(Settings(), name) for name, value in written.items())
    page = Path(result["report"]).read_text("utf-8")
    assert ("None of 2 trials beats" not in page) == result["beats_defaults"]
    assert "need 10 complete trials; there are " in page
    assert page.count("\n| ") == 2 + 2  # head, line, trials


def test_a_search_leaves_no_version_behind(tuned: tuple[Settings, Any]) -> None:
    models = Path(tuned[0].warehouse, "models")
    # the store of versions is the fixture's, and stays empty
    assert sorted(path.name for path in models.iterdir()) == ["mlflow.db", tune.FILE]
    assert Context.of(tuned[0]).registry.versions() == []


def test_a_finished_search_is_only_reported_again(tuned: tuple[Settings, Any]) -> None:
    settings, result = tuned
    again = tune.run(Context.of(settings))
    assert {**again, "seconds": 0} == {**result, "seconds": 0}


def test_a_killed_search_ends_as_the_undisturbed_one(
    ingested: Path, tuned: tuple[Settings, Any], tmp_path: Path
) -> None:
    root = tmp_path / "warehouse"
    shutil.copytree(ingested, root)
    settings = quick(root)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]
    places = [f"--warehouse={root}", f"--reports={root / 'reports'}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", "tune", *flags, *places],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_second_trial(process, settings)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert trials_of(settings)[1].state == TrialState.RUNNING
    result = tune.run(Context.of(settings))
    states = [trial.state for trial in trials_of(settings)]
    assert states.count(TrialState.FAIL) == 1
    assert result["trials"] == tuned[1]["trials"]
    assert outcome(settings) == outcome(tuned[0])
    assert not (root / "models" / tune.SCRATCH).exists()


def wait_for_second_trial(process: subprocess.Popen[bytes], settings: Settings) -> None:
    """Return once the second trial is in the midst of its training."""
    file = Path(settings.warehouse, "models", tune.FILE)
    query = "SELECT 1 FROM trial_intermediate_values JOIN trials USING (trial_id) WHERE number = 1"
    deadline = monotonic() + 250
    while monotonic() < deadline:
        assert process.poll() is None, "ended before it was killed"
        time.sleep(0.1)
        with (
            suppress(sqlite3.OperationalError),  # the file or its tables are not there yet
            closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection,
        ):
            if connection.execute(query).fetchall():
                return
    pytest.fail("no second trial")


def study_with_median(value: float) -> optuna.Study:
    """Return a study whose complete trials had `value` at every epoch."""
    study = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.MedianPruner(n_warmup_steps=1)
    )
    for _ in range(5):
        study.add_trial(
            create_trial(value=value, intermediate_values=dict.fromkeys(range(9), value))
        )
    return study


@pytest.mark.parametrize(
    ("median", "minutes", "expected"),
    [(1.0, 60.0, optuna.TrialPruned), (0.0, 0.0, TimeIsUpError)],
)
def test_a_hopeless_or_late_training_is_stopped(
    ingested: Path,
    tmp_path: Path,
    median: float,
    minutes: float,
    expected: type[Exception],
) -> None:
    settings = quick(ingested)
    dataset = read_dataset(Warehouse(settings.warehouse))
    task = training_task(settings, dataset, AttributeColumns.fit(dataset.catalogue.attributes))
    trial = study_with_median(median).ask()
    watch = TrialWatch(trial, monotonic() + 60 * minutes)
    encoder = start_encoder(settings.encoder, settings.max_tokens)
    options = FinetuneOptions.of(settings.model_dump())
    with pytest.raises(expected):
        finetune(encoder, task, options, tmp_path, [watch])


def test_no_minutes_at_all_is_an_error_and_loses_no_trial(movielens: Settings) -> None:
    settings = quick(Path(movielens.warehouse), tune_minutes=1e-6)
    with pytest.raises(InputError, match=r"setting `tune_minutes`: 1e-06 minutes were used up"):
        tune.run(Context.of(settings))
    assert [trial.state for trial in trials_of(settings)] == [TrialState.WAITING]


def test_a_trial_that_fails_leaves_the_others_alone(movielens: Settings) -> None:
    root = Path(movielens.warehouse)
    settings = quick(root, checkpointing=True, tuning="prefix", seed=1)
    result = tune.run(Context.of(settings))
    first, second = trials_of(settings)
    assert "setting `checkpointing`: a prefix" in first.user_attrs[ERROR]
    assert second.state == TrialState.COMPLETE
    assert (result["trials"], result["failed"], result["defaults"]) == (2, 1, None)
    assert not result["beats_defaults"]
    page = Path(result["report"]).read_text("utf-8")
    assert "The configured settings failed" in page
    assert "Trial 0: setting `checkpointing`" in page


def test_nothing_but_failures_is_an_error(
    movielens: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = quick(Path(movielens.warehouse))
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]
    with pytest.raises(SystemExit) as stop:
        main(["tune", *flags, f"--warehouse={settings.warehouse}", "--augmentations=shouting"])
    assert stop.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.match(r"nightrank: all 2 trials failed, the last with: .*shouting", line)
    assert all(trial.state == TrialState.FAIL for trial in trials_of(settings))


def test_a_file_that_is_no_study_is_refused(movielens: Settings) -> None:
    settings = quick(Path(movielens.warehouse))
    file = Path(settings.warehouse, "models", tune.FILE)
    file.parent.mkdir(exist_ok=True)
    file.write_text("not SQLite at all" * 100)
    with pytest.raises(InputError, match=r"tune\.db can't be read as a search \(.*: move it away"):
        tune.run(Context.of(settings))


def test_the_space_holds_what_is_configured_and_no_more_layers_than_there_are() -> None:
    odd = Settings(learning_rate=0.5, tuning="adalora", weight_decay=0.07, tuned_layers=3)
    space = search_space(odd, depth=2)
    for name, value in configured(odd).items():
        assert space[name]._contains(space[name].to_internal_repr(value)), name
    assert search_space(Settings(), depth=2)["tuned_layers"] == IntDistribution(0, 2)


def test_the_page_draws_importances_once_there_are_enough(tmp_path: Path) -> None:
    settings = Settings()
    space = search_space(settings, 6)
    study = open_study(tmp_path / "models" / tune.FILE, {}, configured(settings))
    sampler = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(12):
        trial = sampler.ask(space)
        study.add_trial(
            create_trial(
                params=trial.params,
                distributions=space,
                value=trial.params["tuned_layers"],
                user_attrs={CONFIGURED: True} if number == 0 else {},
            )
        )
    result = write_tune_report(tmp_path / "tune", study, settings)
    assert result["beats_defaults"]
    page = Path(result["report"]).read_text("utf-8")
    assert "beats the configured settings on validation" in page
    assert "![Importance of each setting](importances.png)" in page
    assert (tmp_path / "tune" / "importances.png").stat().st_size > 1000
    importances = optuna.importance.get_param_importances(study)
    assert max(importances, key=lambda name: importances[name]) == "tuned_layers"


def test_a_search_of_other_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = SimpleNamespace(versions={"items": 1})
    file, first = tmp_path / "tune.db", configured(Settings())
    monkeypatch.setattr(tune, "code_hash", lambda: "old")
    open_study(file, tune._in_common(Settings(), data, {}), first)  # type: ignore[arg-type]
    monkeypatch.setattr(tune, "code_hash", lambda: "new")
    with pytest.raises(InputError, match=r"another code of nightrank \(old, now new\)"):
        open_study(file, tune._in_common(Settings(), data, {}), first)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"max_tokens": 24},
            r"tune\.db holds a search with another setting `max_tokens` \(16, now",
        ),
        ({"seed": 1}, r"another setting `seed` \(0, now 1\): move it away"),
        ({"processes": 2}, r"setting `processes`: `tune` trains in one process, got 2"),
        ({"warehouse": "s3://far/away"}, "need a local warehouse, got s3://far/away"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tuned: tuple[Settings, Any], changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        tune.run(Context.of(tuned[0].model_copy(update=changed)))
