"""How well a version ranks new items whose texts have typos, are cut short or have shuffled words.

A fifth of the known items are ranked by their texts alone, as in the export's gate: with clean
texts and with each kind of noise, before and after fine-tuning.

Trade-off: this measures the PyTorch encoder; the parity gate measures the compressed one.
"""

import numpy as np

from jobs.context import Context
from jobs.gate.parity import Trials, prepare, scorers_of_trials
from jobs.versions.best_variant import with_towers
from models.data.arrays import Factors
from models.data.augmentation import WAYS
from models.evaluation.question import judge
from models.network.encoder import TextEncoder
from models.network.towers import TwoTowers
from models.serving.bundle import FINE_TUNED_VECTORS, PRETRAINED_VECTORS, Bundle
from models.training.weights import load_encoder, load_towers, start_encoder

NOISES = ("typos", "truncation", "word_shuffle")


def under_noise(context: Context, trained: Bundle) -> dict[str, dict[str, float]]:
    """Return NDCG@10 by texts alone, "pretrained" and "fine_tuned", for "clean" and each noise."""
    towers = load_towers(trained)
    trials = prepare(context.warehouse, trained, towers, context.settings.seed)
    states = {
        PRETRAINED_VECTORS: start_encoder(
            trained.manifest.settings.encoder, trained.manifest.encoder.max_tokens
        ),
        FINE_TUNED_VECTORS: load_encoder(trained),
    }
    with with_towers(trained) as bundle:
        found = [
            _of_state(bundle, towers, trials, np.array(trained.array(name)), encoder)
            for name, encoder in states.items()
        ]
    return dict(zip(("pretrained", "fine_tuned"), found, strict=True))


def _of_state(
    bundle: Bundle, towers: TwoTowers, trials: Trials, vectors: Factors, encoder: TextEncoder
) -> dict[str, float]:
    scorer = scorers_of_trials(trials, bundle, towers, vectors)
    n_items = len(trials.dataset.catalogue.item_ids)
    random = np.random.default_rng(trials.seed)
    texts = trials.texts[:n_items]
    found = {"clean": vectors}
    for noise in NOISES:
        noisy = encoder.vectors([WAYS[noise](text, random) for text in texts])
        found[noise] = np.vstack([noisy, vectors[n_items:]])
    return {
        name: float(judge(trials.by_text, scorer(rows)).ndcg().mean())
        for name, rows in found.items()
    }
