"""train, export and promote on a slice of MovieLens with the real MiniLM, as the commands run."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from toy_version import champion as toy_champion

from jobs import cli
from jobs.context import Context
from jobs.gate.floor import GATE_METRIC
from jobs.settings.model import Settings
from jobs.steps import active_learning, export, promote, train
from jobs.versions.registry import CANDIDATE, CHAMPION
from jobs.warehouse.dataset import read_dataset
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import ACTIVE_LEARNING, RUNS
from models.data.interactions import histories
from models.data.splits import make_split
from models.data.texts import item_texts
from models.errors import InputError
from models.evaluation.question import ask, judge
from models.evaluation.variants import open_variant
from models.serving.bundle import FINE_TUNED_VECTORS, PRETRAINED_VECTORS, Bundle, open_bundle
from models.serving.text_vectors import TextEncoders, TextVectors

pytestmark = pytest.mark.training

QUICK = {
    "epochs": 2,
    "epochs_between_validations": 1,
    "batch_users": 32,
    "tuned_layers": 1,
    "max_tokens": 24,
    "factors": 32,
    "history_length": 50,
    "distil_texts": 1500,
    "parity_tolerance": 1.0,
}


@pytest.fixture(scope="module")
def trained(ingested: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("trained") / "warehouse"
    shutil.copytree(ingested, root)
    places = {"warehouse": str(root), "reports": str(root / "reports")}
    settings = Settings(**places).model_copy(update=QUICK)
    train.run(Context.of(settings))
    return settings


@pytest.fixture(scope="module")
def exported(trained: Settings) -> Settings:
    export.run(Context.of(trained))
    return trained


def candidate(settings: Settings) -> Bundle:
    return Context.of(settings).registry.candidate()


def trained_bundle(settings: Settings) -> Bundle:
    [version] = [
        folder.name
        for folder in Path(settings.warehouse, "models").iterdir()
        if folder.is_dir() and "-" not in folder.name
    ]
    return Context.of(settings).registry.candidate(version)


def test_a_trained_version_says_what_it_is(trained: Settings) -> None:
    bundle = trained_bundle(trained)
    assert {"validation", "texts_alone", "ndcg@10"} <= set(bundle.manifest.metrics)
    assert bundle.manifest.tables.keys() == {"interactions", "items", "users"}
    newest = Warehouse(trained.warehouse).read("interactions")["ts"].to_pylist()
    assert bundle.manifest.trained_until == max(newest).timestamp()
    assert any("loss" in entry for entry in bundle.manifest.learning_curve)
    assert not list(bundle.folder.parent.glob("*.checkpoints"))
    moved = np.abs(bundle.array(FINE_TUNED_VECTORS) - bundle.array(PRETRAINED_VECTORS))
    assert moved.shape[1] == 384


def test_training_again_is_done_already(trained: Settings) -> None:
    version = trained_bundle(trained).version
    again = train.run(Context.of(trained))
    assert (again["model_version"], again["reused"]) == (version, True)


def test_the_same_inputs_give_the_same_bytes(trained: Settings, tmp_path: Path) -> None:
    first = trained_bundle(trained)
    shutil.copytree(trained.warehouse, tmp_path / "w", ignore=shutil.ignore_patterns("models"))
    other = trained.model_copy(update={"warehouse": str(tmp_path / "w")})
    train.run(Context.of(other))
    again = candidate(other)
    assert again.version == first.version
    assert again.manifest.files == first.manifest.files


def test_a_killed_training_resumes(trained: Settings, tmp_path: Path) -> None:
    """A run that dies after its first checkpoint ends as the undisturbed one did."""
    first = trained_bundle(trained)
    shutil.copytree(trained.warehouse, tmp_path / "w", ignore=shutil.ignore_patterns("models"))
    other = trained.model_copy(update={"warehouse": str(tmp_path / "w")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.training.trainer.NdcgTrainer.evaluate", dying_after(2))
        with pytest.raises(KeyboardInterrupt):
            train.run(Context.of(other))
    [checkpoints] = (tmp_path / "w" / "models").glob("*.checkpoints")
    assert list(checkpoints.glob("checkpoint-*"))
    train.run(Context.of(other))
    again = candidate(other)
    for name in (FINE_TUNED_VECTORS, "training/towers.safetensors"):
        assert again.manifest.files[name] == first.manifest.files[name]


def test_a_training_killed_before_its_clean_up_is_tidied_by_the_next(
    trained: Settings, tmp_path: Path
) -> None:
    version = trained_bundle(trained).version
    curves = Path(trained.warehouse, "tensorboard", version)
    checkpoints = Path(trained.warehouse, "models", f"{version}.checkpoints")
    (checkpoints / "checkpoint-3").mkdir(parents=True)
    shutil.move(curves, checkpoints / "tensorboard")
    assert train.run(Context.of(trained))["reused"]
    assert list(curves.iterdir())
    assert not checkpoints.exists()


def test_a_damaged_version_is_trained_again_and_put_aside(
    movielens: Settings, tiny_encoder: str
) -> None:
    settings = movielens.model_copy(update=QUICK | {"encoder": tiny_encoder, "epochs": 1})
    first = train.run(Context.of(settings))
    folder = Path(settings.warehouse, "models", first["model_version"])
    (folder / "training" / "texts.json").unlink()
    again = train.run(Context.of(settings))
    assert (again["model_version"], again["reused"]) == (first["model_version"], False)
    text = json.loads((folder / "model.json").read_text("utf-8"))
    del text["files"]["training/towers.safetensors"]
    (folder / "model.json").write_text(json.dumps(text), "utf-8")
    with pytest.raises(InputError, match=r"is incomplete, it lacks training/towers\.safetensors"):
        Context.of(settings).registry.candidate()
    assert not train.run(Context.of(settings))["reused"]
    assert len(list(folder.parent.glob("*.damaged"))) == 2
    assert train.run(Context.of(settings))["reused"]


def test_two_trainings_of_the_same_inputs_make_one_version(
    movielens: Settings, tiny_encoder: str
) -> None:
    settings = movielens.model_copy(update=QUICK | {"encoder": tiny_encoder, "epochs": 1})
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: train.run(Context.of(settings)), range(2)))
    assert sorted(result["reused"] for result in results) == [False, True]
    [version] = {result["model_version"] for result in results}
    models = Path(movielens.warehouse, "models")
    assert [one.name for one in models.iterdir() if one.is_dir()] == [version]
    assert candidate(movielens).version == version
    assert Context.of(movielens).registry.versions() == [version]


def dying_after(calls: int):  # noqa: ANN201
    from models.training.trainer import NdcgTrainer

    undisturbed, seen = NdcgTrainer.evaluate, []

    def evaluate(self: NdcgTrainer, *args: object, **kwargs: object) -> dict[str, float]:
        seen.append(1)
        if len(seen) > calls:
            raise KeyboardInterrupt
        return undisturbed(self, *args, **kwargs)

    return evaluate


def test_an_export_is_a_version_of_its_own_complete_in_itself(
    exported: Settings, tmp_path: Path
) -> None:
    bundle = candidate(exported)
    assert bundle.exported
    assert bundle.version.startswith(f"{bundle.manifest.trained_version}-")
    shutil.copytree(bundle.folder, tmp_path / "elsewhere")
    vectors = TextVectors(open_bundle(tmp_path / "elsewhere").encoder, 1).encode(
        ["Alien", "Aliens"]
    )
    assert vectors.shape == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-4)


def test_the_shipped_encoder_is_near_the_fine_tuned_one(exported: Settings) -> None:
    bundle = candidate(exported)
    dataset = read_dataset(Warehouse(exported.warehouse), bundle.manifest.tables)
    texts = item_texts(dataset.catalogue)
    shipped = TextVectors(bundle.encoder, 1).encode(texts)
    cosine = (shipped * bundle.array(FINE_TUNED_VECTORS)[: len(texts)]).sum(axis=1)
    assert cosine.mean() > 0.8
    assert bundle.manifest.metrics["parity_mean_cosine"] > 0.8


def test_the_report_sets_the_shipped_encoder_beside_the_fine_tuned_one(
    exported: Settings,
) -> None:
    rungs = json.loads((Path(exported.reports) / "compression.json").read_text("utf-8"))
    assert [rung["name"] for rung in rungs] == ["fine_tuned", "shipped"]
    for rung in rungs:
        assert set(rung) == {
            "name", "bytes", "texts_per_second", "speedup", "ndcg@10", "overlap@10",
        }  # fmt: skip
    before, after = rungs
    assert (before["speedup"], before["overlap@10"]) == (1.0, 1.0)
    assert after["speedup"] > 2.0
    assert after["bytes"] == (candidate(exported).folder / "encoder.onnx").stat().st_size < 8e6
    page = (Path(exported.reports) / "compression.md").read_text("utf-8")
    assert "| fine tuned |" in page
    assert "texts_alone" in page


def test_onnx_towers_score_as_the_torch_ones(exported: Settings) -> None:
    import torch

    from models.training.weights import load_towers

    bundle = candidate(exported)
    dataset = read_dataset(Warehouse(exported.warehouse), bundle.manifest.tables)
    users = np.arange(8)
    pasts = histories(dataset.interactions, users)
    profiles = [dataset.profiles[user] for user in users]
    variant = open_variant(bundle, "fine_tuned", dataset.catalogue, TextEncoders())
    scores = variant.asked_at(None)(pasts, profiles)
    towers = load_towers(bundle)
    known = towers.known.numpy()
    assert torch.isfinite(towers.own_ranking).all()
    assert scores.shape == (8, len(dataset.catalogue.item_ids))
    assert np.isfinite(scores[:, known]).all()


def test_a_trained_version_asks_for_labels_as_an_exported_one_does(
    exported: Settings, tmp_path: Path
) -> None:
    settings = exported.model_copy(update={"label_pairs": 10, "reports": str(tmp_path)})
    for version in (candidate(exported).version, trained_bundle(exported).version):
        assert active_learning.run(Context.of(settings), version)["asked"] == 10
        rows = Warehouse(settings.warehouse).read(ACTIVE_LEARNING).to_pylist()
        assert {row["model_version"] for row in rows} == {version}
        assert all(row["uncertainty"] > 0.9 for row in rows)


def test_the_fine_tuned_model_beats_the_untouched_one(exported: Settings) -> None:
    bundle = candidate(exported)
    dataset = read_dataset(Warehouse(exported.warehouse), bundle.manifest.tables)
    question = ask(make_split("warm", dataset.interactions, 4.0).final, dataset.profiles)
    ours, before = (
        judge(question, variant.asked_at(None)).ndcg().mean()
        for variant in (
            open_variant(bundle, name, dataset.catalogue, TextEncoders())
            for name in ("shipped", "pretrained")
        )
    )
    assert ours > before


def test_an_absurd_pruning_is_refused_by_the_gate(trained: Settings) -> None:
    absurd = trained.model_copy(
        update={
            "keep_layers": 1,
            "keep_heads": 0.01,
            "keep_width": 0.01,
            "distil_texts": 0,
            "parity_tolerance": 0.01,
        }
    )
    before = Context.of(trained).registry.version_of(CANDIDATE)
    with pytest.raises(InputError, match=r"parity gate: compression loses .*%(.|\n)*texts_alone"):
        export.run(Context.of(absurd))
    assert Context.of(trained).registry.version_of(CANDIDATE) == before
    assert not list(Path(trained.warehouse, "models").glob("*.partial"))


def test_a_prefix_reaches_the_export_by_distillation_alone(
    movielens: Settings, tiny_encoder: str
) -> None:
    settings = movielens.model_copy(
        update=QUICK
        | {"encoder": tiny_encoder, "tuning": "prefix", "vocabulary_margin": 0, "keep_width": 1.0}
        | {"reports": str(Path(movielens.warehouse, "reports"))}
    )
    trained = train.run(Context.of(settings))["model_version"]
    with pytest.raises(InputError, match="setting `distil_texts`: 0, but a prefix or adapters"):
        export.run(Context.of(settings.model_copy(update={"distil_texts": 0})))
    bundle = Context.of(settings).registry.candidate(
        export.run(Context.of(settings))["model_version"]
    )
    assert bundle.manifest.trained_version == trained
    assert bundle.manifest.metrics["parity_mean_cosine"] > 0.9
    names = {
        tensor.name for tensor in onnx.load(str(bundle.path("encoder.onnx"))).graph.initializer
    }
    assert not any("prefix" in name for name in names)


def test_more_layers_than_there_are_is_an_error_that_names_the_setting(trained: Settings) -> None:
    with pytest.raises(InputError, match="setting `keep_layers`: 7, but the encoder has 6"):
        export.run(Context.of(trained.model_copy(update={"keep_layers": 7})))


def test_promotion_asks_for_an_evaluation_and_then_serves_a_refit(exported: Settings) -> None:
    registry, version = Context.of(exported).registry, candidate(exported).version
    with pytest.raises(InputError, match=f"version {version} has not been evaluated"):
        promote.run(Context.of(exported))
    floor = {"nights_best_baseline_ndcg@10": 0.18, "nights_gain_high": 0.03}
    registry.log_metrics(version, {GATE_METRIC: 0.2} | floor)
    done = promote.run(Context.of(exported))
    served = registry.champion()
    assert (done["champion"], done["judged"], done["before"]) == (served.version, version, None)
    assert served.manifest.judged_version == version
    # the newest fifth of the likes is in the refit alone
    assert set(candidate(exported).item_ids) < set(served.item_ids)
    toy = toy_champion(exported, ["1"], seed=7)
    registry.set_alias(CHAMPION, served.version)
    registry.log_metrics(toy.version, {GATE_METRIC: 0.19} | floor)
    with pytest.raises(InputError, match=r"gate: asked as last visit.*the champion stays"):
        promote.run(Context.of(exported), toy.version)
    assert registry.version_of(CHAMPION) == served.version
    tolerant = exported.model_copy(update={"promote_tolerance": 1.0})
    assert promote.run(Context.of(tolerant), toy.version)["champion"] == toy.version
    statuses = [
        row["status"]
        for row in Warehouse(exported.warehouse).read(RUNS).to_pylist()
        if row["step"] == "promote"
    ]
    assert {"failed", "succeeded"} <= set(statuses)


def test_an_unexported_version_is_not_promoted(trained: Settings) -> None:
    with pytest.raises(InputError, match="is not exported: run `nightrank export` first"):
        promote.run(Context.of(trained), trained_bundle(trained).version)


def test_models_lists_versions_with_their_aliases(
    exported: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["models", "--warehouse", exported.warehouse, "--json"])
    listed = json.loads(capsys.readouterr().out)["models"]
    assert any("candidate" in row["aliases"] for row in listed)
    assert all({"version", "metrics", "aliases"} <= set(row) for row in listed)
