"""Every way to fine-tune, on a slice of MovieLens and a small BERT, from settings to weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import train
from jobs.versions.trained import training_task
from jobs.warehouse.dataset import Dataset, read_dataset
from jobs.warehouse.delta import Warehouse
from models.data.attributes import AttributeColumns
from models.data.splits import make_split, thinned
from models.errors import InputError
from models.network.adaptation.choice import adapt
from models.network.encoder import TextEncoder
from models.network.retention import likeness, retention
from models.objective.bank import TextBank
from models.objective.pseudo_labels import with_pseudo_labels
from models.training.finetune import Finetuned, finetune
from models.training.options import FinetuneOptions
from models.training.weights import start_encoder

pytestmark = pytest.mark.training

QUICK: dict[str, Any] = {
    "epochs": 2,
    "epochs_between_validations": 1,
    "batch_users": 16,
    "tuned_layers": 1,
    "max_tokens": 16,
    "factors": 16,
    "history_length": 30,
}
Tuned = Callable[..., Finetuned]


@pytest.fixture(scope="module")
def dataset(ingested: Path) -> Dataset:
    return read_dataset(Warehouse(str(ingested)))


@pytest.fixture
def settings(ingested: Path, tiny_encoder: str) -> Settings:
    return Settings(warehouse=str(ingested), encoder=tiny_encoder, **QUICK)


@pytest.fixture
def tuned(settings: Settings, dataset: Dataset, tmp_path: Path) -> Tuned:
    """A fine-tune with some settings changed."""

    def run(beside: tuple[TrainerCallback, ...] = (), **changed: Any) -> Finetuned:
        chosen = settings.model_copy(update=changed)
        task = training_task(chosen, dataset, AttributeColumns.fit(dataset.catalogue.attributes))
        encoder = start_encoder(chosen.encoder, chosen.max_tokens)
        options = FinetuneOptions.of(chosen.model_dump())
        folder = tmp_path / f"checkpoints{len(list(tmp_path.iterdir()))}"
        return finetune(encoder, task, options, folder, beside)

    return run


def losses(result: Finetuned) -> set[str]:
    return {
        name.removeprefix("loss_")
        for entry in result.curve
        for name in entry
        if name.startswith("loss_")
    }


def losses_by_epoch(result: Finetuned) -> list[float]:
    return [entry["loss"] for entry in result.curve if "loss" in entry]


@pytest.mark.parametrize(
    ("changed", "terms"),
    [
        ({"tuning": "lora"}, set()),
        ({"tuning": "adalora"}, {"adaptation"}),
        ({"tuning": "prefix"}, set()),
        ({"tuning": "adapters"}, set()),
        ({"optimiser": "sgd"}, set()),
        ({"precision": "bf16"}, set()),
        ({"accumulated_steps": 2}, set()),
        ({"ranking_loss": "sampled_softmax", "negatives": 50}, set()),
        ({"ranking_loss": "gbce", "negatives": 50}, set()),
        ({"rating_weight": 0.1, "cosine_weight": 0.1, "learned_weights": True},
         {"rating", "cosine"}),
        ({"teacher_encoder": "all-MiniLM-L6-v2"}, {"teacher"}),
        ({"anchor_weight": 0.1}, {"anchor"}),
        ({"replay_weight": 1.0}, {"replay"}),
        ({"adversarial_step": 0.1}, set()),
        ({"augmentations": "word_dropout,typos", "augmented_copies": 1}, set()),
        ({"pseudo_label_confidence": 0.8}, set()),
        ({"label_share": 0.3}, set()),
        ({"tuned_layers": 2, "unfreeze_epochs": 1, "tuning": "lora"}, set()),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_each_method_trains_and_says_what_it_cost(
    tuned: Tuned, changed: dict[str, Any], terms: set[str]
) -> None:
    result = tuned(**changed)
    assert losses(result) == {"distillation", "ranking", "interest"} | terms
    assert {"ndcg@10", "general_rank_correlation", "trained_parameters"} <= set(result.metrics)
    assert torch.isfinite(result.model.bank.vectors).all()
    assert not any(".lora_" in name for name in result.model.bank.encoder.model.state_dict())


class Last(TrainerCallback):
    """Remembers where the last step left the model, which needn't be the best."""

    def on_train_end(self, *_: Any, model: Any = None, **__: Any) -> None:
        """Copy the tuned weights, and how alike general sentences are."""
        self.weights = torch.cat([w.detach().flatten() for w in model.bank.adaptation.weights()])
        self.likeness = likeness(model.bank.encoder)


def moved(tuned: Tuned, **changed: Any) -> tuple[float, float]:
    """Return how far the last step left weights and general likeness from the start."""
    start, last = Last(), Last()
    encoder = tuned(beside=(last,), **changed).model.bank.encoder
    untouched = start_encoder(encoder.model.name_or_path, encoder.max_tokens)
    start.on_train_end(model=_Bare(untouched))
    drift = retention(start.likeness, last.likeness)["general_drift"]
    return float((last.weights - start.weights).norm()), drift


class _Bare:
    """An encoder where a callback looks for it."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.bank = self
        self.encoder = encoder
        self.adaptation = adapt(encoder, "full", QUICK["tuned_layers"], 1)


def test_layers_computed_twice_give_the_same_weights(tuned: Tuned) -> None:
    plain, saving = tuned(), tuned(checkpointing=True)
    torch.testing.assert_close(saving.model.bank.vectors, plain.model.bank.vectors)


def test_a_precision_ends_with_its_training(tuned: Tuned) -> None:
    """All trainings of a process after one in bf16 were in bf16."""
    before, rough, after = tuned(), tuned(precision="bf16"), tuned()
    assert losses_by_epoch(rough) != losses_by_epoch(before)
    assert losses_by_epoch(after) == losses_by_epoch(before)


def test_an_anchor_holds_the_weights_back(tuned: Tuned) -> None:
    assert moved(tuned, anchor_weight=1000.0)[0] < 0.5 * moved(tuned)[0]


def test_replay_keeps_general_sentences_where_they_were(tuned: Tuned) -> None:
    assert moved(tuned, replay_weight=1000.0)[1] < 0.7 * moved(tuned)[1]


def test_an_adversarial_step_raises_the_loss_that_is_learned_from(tuned: Tuned) -> None:
    plain, attacked = (
        [entry["loss"] for entry in tuned(adversarial_step=step).curve if "loss" in entry]
        for step in (0.0, 0.2)
    )
    assert attacked[0] > 2.0 * plain[0]


def test_more_labels_are_sure_and_new_and_no_more_than_there_were(
    tuned: Tuned, settings: Settings, dataset: Dataset
) -> None:
    result = tuned()
    task = training_task(settings, dataset, AttributeColumns.fit(dataset.catalogue.attributes))
    labelled = task.split.tuning.labelled_train

    def popular_first(histories: list[Any], _: list[str]) -> Any:
        return np.tile(np.linspace(3, -3, labelled.n_items), (len(histories), 1))

    items = result.model.bank.items.numpy()
    found = with_pseudo_labels(task, popular_first, items, 0.7)
    new = found.take(np.arange(len(labelled), len(found)))
    assert 0 < len(new) <= len(labelled)
    before = set(zip(labelled.user.tolist(), labelled.item.tolist(), strict=True))
    after = set(zip(new.user.tolist(), new.item.tolist(), strict=True))
    assert len(after) == len(new)
    assert not before & after
    assert set(new.user.tolist()) <= set(labelled.user.tolist())


def test_a_share_of_the_labels_is_the_same_in_every_part(dataset: Dataset) -> None:
    whole = make_split("warm", dataset.interactions, 4.0)
    third = thinned(whole, 0.3, seed=0)
    for name in ("train", "labelled_train"):
        kept, every = (len(getattr(split.final, name)) for split in (third, whole))
        assert 0.2 < kept / every < 0.4
    assert third.final.given is third.final.train
    assert third.final.truth is whole.final.truth
    pairs = [
        set(zip(part.user.tolist(), part.item.tolist(), strict=True))
        for part in (third.tuning.train, third.final.train)
    ]
    assert pairs[0] <= pairs[1]


class Poison(TrainerCallback):
    """Turns a tuned weight into NaN before the third step, as a bad batch does."""

    def on_step_begin(self, *given: Any, model: Any = None, **_: Any) -> None:
        """Poison the model when two steps are done."""
        _, state, _ = given
        if state.global_step == 2:
            weight = model.bank.adaptation.weights()[0]
            weight.data.fill_(torch.nan)


def test_a_loss_that_is_no_number_ends_the_training_with_the_best_weights(
    tuned: Tuned, caplog: pytest.LogCaptureFixture
) -> None:
    result = tuned(beside=(Poison(),))
    assert result.metrics["diverged_at_step"] == 3
    assert "the loss of step 3 is no number: stopped, and the best weights so far are kept" in (
        caplog.text
    )
    assert torch.isfinite(result.model.bank.vectors).all()


def test_a_step_that_does_not_fit_is_halved_until_it_does(
    tuned: Tuned, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encode = TextBank.forward

    def greedy(self: TextBank, rows: Any) -> Any:
        if self.training and len(rows) > 8:
            torch.empty(2**60)  # the allocator's own error
        return encode(self, rows)

    monkeypatch.setattr(TextBank, "forward", greedy)
    result = tuned(bucket_items=32)
    assert "out of memory: trying again with 8 users and 16 items a step" in caplog.text
    assert "out of memory: trying again with 4 users and 8 items a step" in caplog.text
    assert losses(result)


def test_labels_of_one_kind_teach_ranking_alone(
    tuned: Tuned, caplog: pytest.LogCaptureFixture
) -> None:
    result = tuned(positive_threshold=0.5)
    assert losses(result) == {"distillation", "ranking"}
    assert "labels is a like: interest and rating can't be learned and are left out" in caplog.text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"precision": "fp16"}, "setting `precision`: fp16 needs a CUDA device"),
        ({"checkpointing": True, "tuning": "prefix"}, "setting `checkpointing`: a prefix"),
        ({"sharding": True}, "setting `sharding`: it needs `processes` of at least 2"),
        ({"adversarial_step": 0.1, "tuned_layers": 0}, "setting `adversarial_step`: it needs"),
        ({"ranking_loss": "gbce", "ranking_weight": 0.0}, "setting `ranking_loss`: gbce counts"),
        ({"tracking": "wandb"}, "setting `tracking`: wandb isn't installed"),
        ({"teacher_encoder": "/nowhere"}, "setting `teacher_encoder`: '/nowhere' can't be loaded"),
        ({"augmentations": "shout"}, "setting `augmentations`: 'shout' is none of"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_refused_by_name(
    tuned: Tuned, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        tuned(**changed)


def test_checkpoints_of_other_settings_are_refused(movielens: Settings, tiny_encoder: str) -> None:
    settings = movielens.model_copy(update=QUICK | {"encoder": tiny_encoder})
    version = train.version_name(settings, read_dataset(Warehouse(settings.warehouse)))
    folder = Path(settings.warehouse, "models", f"{version}.checkpoints")
    folder.mkdir(parents=True)
    other = train.training_settings(settings) | {"epochs": 9}
    (folder / "settings.json").write_text(json.dumps(other), "utf-8")
    with pytest.raises(InputError, match="holds a training with another `epochs`: remove it"):
        train.run(Context.of(settings))


def test_two_processes_give_what_one_gives_also_with_layers_shared(
    movielens: Settings, tiny_encoder: str
) -> None:
    """Users and texts are shared out, gradients summed: the same curve but for rounding."""
    settings = movielens.model_copy(
        update=QUICK | {"encoder": tiny_encoder, "rating_weight": 0.1, "cosine_weight": 0.1}
    )
    curves = []
    for changed in ({}, {"processes": 2}, {"processes": 2, "sharding": True}):
        version = train.run(Context.of(settings.model_copy(update=changed)))["model_version"]
        manifest = Path(settings.warehouse, "models", version, "model.json").read_text("utf-8")
        curves.append(json.loads(manifest)["learning_curve"])
    names = ("loss", "eval_validation", "eval_texts_alone")
    alone, together, sharing = (
        [entry[name] for entry in curve for name in names if name in entry] for curve in curves
    )
    assert len(alone) == 6
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    np.testing.assert_allclose(sharing, alone, rtol=1e-4)


def test_a_version_is_a_start_and_its_curve_is_told(movielens: Settings, tiny_encoder: str) -> None:
    from mlflow import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = movielens.model_copy(update=QUICK | {"encoder": tiny_encoder})
    first = train.run(Context.of(settings))["model_version"]
    folder = Path(settings.warehouse, "models", first)
    encoder = start_encoder(str(folder), 16)
    texts = json.loads((folder / "training" / "texts.json").read_text("utf-8"))
    kept = np.load(folder / "training" / "fine_tuned_vectors.npy")
    np.testing.assert_allclose(encoder.vectors(texts[:5]), kept[:5], atol=2e-3)
    client = MlflowClient(f"sqlite:///{folder.parent / 'mlflow.db'}")
    [entry] = client.search_model_versions("name = 'nightrank'")
    names = set(client.get_run(str(entry.run_id)).data.metrics)
    assert {"curve/loss_ranking", "curve/grad_norm", "curve/eval_ndcg_at_10"} <= names
    tags: set[str] = set()
    for file in Path(settings.warehouse, "tensorboard", first).glob("events*"):
        told = EventAccumulator(str(file)).Reload().Tags()
        tags |= {*told["scalars"], *told["tensors"]}
    wanted = {"train/loss_ranking", "train/learning_rate", "train/grad_norm", "eval/ndcg@10"}
    assert wanted | {"withheld items/text_summary"} <= tags
