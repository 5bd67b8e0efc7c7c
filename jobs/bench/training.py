"""make bench: texts per second of our fine-tuning and of a plain sentence-transformers loop.

- Both train MiniLM on the same targets, texts and batches, with the same maximum length and AdamW.
  Ours tunes the top layer on cached states, as the default settings do; the peer tunes the whole
  model, as its training loop does by default.
- They take turns batch by batch, so that a busy machine slows both alike. The time to fill our
  cache is divided by the default number of epochs.

Trade-off: the two do not learn the same. docs/experiments.md has the quality lost by tuning only
one layer.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from jobs.settings.model import Settings
from jobs.sources.movielens import MovieLens100k
from models.data.arrays import Rows
from models.data.texts import item_text, length_buckets
from models.network.adaptation.choice import adapt
from models.network.encoder import TextEncoder
from models.network.loading import load_language_model
from models.network.losses import distillation_loss
from models.objective.bank import TextBank

TEXTS, TARGETS = 512, 64


def main(folder: Path) -> None:
    """Measure and write `bench_training.json` to `folder`."""
    films = list(MovieLens100k().films())[:TEXTS]
    seconds = race([item_text(film["title"], film["text"]) for film in films], Settings())
    report = [
        {
            "name": name,
            "texts": len(films),
            "threads": torch.get_num_threads(),
            "texts_per_second": len(films) / taken,
            "ratio_to_peer": seconds["sentence_transformers"] / taken,
        }
        for name, taken in seconds.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench_training.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    for line in report:
        print(
            f"{line['name']}: {line['texts_per_second']:.1f} texts/s in training, "
            f"{line['ratio_to_peer']:.2f} times the peer"
        )


def race(texts: list[str], settings: Settings) -> dict[str, float]:
    """Return the seconds that one pass over `texts` takes each contender."""
    targets = torch.randn(len(texts), TARGETS, generator=torch.Generator().manual_seed(0))
    encoder = TextEncoder(*load_language_model(settings.encoder), settings.max_tokens)
    started = time.perf_counter()
    adaptation = adapt(encoder, "full", settings.tuned_layers, settings.tuning_rank)
    bank = TextBank(adaptation, texts, len(texts))
    filled = time.perf_counter() - started
    peer = SentenceTransformer(str(encoder.model.name_or_path), device="cpu")
    peer.max_seq_length = encoder.max_tokens

    def encoded(rows: Rows) -> Tensor:
        features = peer.preprocess([texts[row] for row in rows])
        return cast(Tensor, peer(features)["sentence_embedding"])

    steps = {
        "nightrank": _step(bank, bank, targets),
        "sentence_transformers": _step(peer, encoded, targets),
    }
    seconds = dict.fromkeys(steps, 0.0)
    for rows in length_buckets(bank.lengths, settings.bucket_items):
        for name, step in steps.items():
            started = time.perf_counter()
            step(rows)
            seconds[name] += time.perf_counter() - started
    seconds["nightrank"] += filled / settings.epochs
    return seconds


def _step(
    model: nn.Module, encode: Callable[[Rows], Tensor], targets: Tensor
) -> Callable[[Rows], None]:
    """Return the function that takes one optimiser step on a batch of texts."""
    model.train()
    head = nn.LazyLinear(targets.shape[1])
    head(encode(length_buckets([1, 1], 2)[0]))
    trained = [p for p in [*model.parameters(), *head.parameters()] if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-4)

    def step(rows: Rows) -> None:
        loss = distillation_loss(head(encode(rows)), targets[torch.from_numpy(rows)])
        torch.autograd.backward(loss)
        optimiser.step()
        optimiser.zero_grad()

    return step


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "reports"))
