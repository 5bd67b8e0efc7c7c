"""How a version ranks new items whose texts are misspelt, cut short or out of order.

A fifth of the known items stand by their texts alone, as in the export's gate: once as they are,
and once with each kind of noise, before and after fine-tuning.

Trade-off: the PyTorch encoder is asked; compression has a gate of its own.
"""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from jobs.parity_gate import Trials, prepare
from jobs.settings import Settings
from models.attributes import AttributeColumns
from models.augmentation import WAYS
from models.bundle import FINE_TUNED_VECTORS, PRETRAINED_VECTORS, Bundle, write_manifest
from models.comparison import judge
from models.compress import export_towers
from models.dataset import Factors
from models.encoder import TextEncoder
from models.network import TwoTowers
from models.weights import load_encoder, load_towers, start_encoder
from models.withheld import scorers_by_text, withheld_items

NOISES = ("typos", "truncation", "word_shuffle")


def under_noise(settings: Settings, trained: Bundle) -> dict[str, dict[str, float]]:
    """Return NDCG@10 by texts alone, "pretrained" and "fine_tuned", for "clean" and each noise."""
    towers = load_towers(trained)
    trials = prepare(settings, trained, towers)
    chosen = trained.manifest["settings"]
    states = {
        PRETRAINED_VECTORS: start_encoder(chosen["encoder"], trained.manifest["max_tokens"]),
        FINE_TUNED_VECTORS: load_encoder(trained),
    }
    with TemporaryDirectory() as scratch:
        bundle = _with_towers(trained, towers, Path(scratch) / trained.version)
        found = [
            _of_state(bundle, towers, trials, trained.array(name), encoder)
            for name, encoder in states.items()
        ]
    return dict(zip(("pretrained", "fine_tuned"), found, strict=True))


def _with_towers(trained: Bundle, towers: TwoTowers, folder: Path) -> Bundle:
    shutil.copytree(trained.folder, folder)
    export_towers(towers, int(trained.manifest["text_dim"]), folder)
    return write_manifest(folder, trained.manifest)


def _of_state(
    bundle: Bundle, towers: TwoTowers, trials: Trials, vectors: Factors, encoder: TextEncoder
) -> dict[str, float]:
    known = towers.known.numpy()
    attributes = trials.dataset.catalogue.attributes
    scorer = scorers_by_text(
        bundle,
        (towers.own_ranking.numpy(), towers.own_history.numpy()),
        known,
        AttributeColumns.fit(attributes).encode(attributes),
        np.asarray(vectors),
        trials.rows,
        withheld_items(known, trials.seed),
        os.cpu_count() or 1,
    )
    random = np.random.default_rng(trials.seed)
    texts = trials.texts[: len(known)]
    found = {"clean": np.asarray(vectors)}
    for noise in NOISES:
        noisy = encoder.vectors([WAYS[noise](text, random) for text in texts])
        found[noise] = np.vstack([noisy, vectors[len(known) :]])
    return {
        name: float(judge(trials.by_text, scorer(rows)).ndcg().mean())
        for name, rows in found.items()
    }
