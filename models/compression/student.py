"""The small encoder in its stages: trimmed, pruned, distilled.

- Each stage is yielded as soon as it is ready, so that it can be measured before the next begins.
- How much an error of a text vector changes users' scores is measured with the factors of the
  validation users (`user_score_metric`).

Trade-off: distillation trains the pruned encoder in place; to keep the pruned stage, copy it.
"""

import copy
from collections.abc import Iterator, Sequence

import torch

from models.compression.distillation import distil, score_metric
from models.compression.options import StudentOptions
from models.compression.pruning import prune_layers, prune_units
from models.compression.vocabulary import trim_vocabulary
from models.data.arrays import Factors
from models.data.matrices import pad_histories
from models.errors import InputError
from models.evaluation.question import Question
from models.network.adaptation.wrapping import unwrap, wrapped
from models.network.encoder import TextEncoder
from models.network.towers import TwoTowers
from models.serving.bundle import Bundle

USERS = 512


def stages(
    encoder: TextEncoder,
    texts: Sequence[str],
    metric: Factors,
    options: StudentOptions,
) -> Iterator[tuple[str, TextEncoder]]:
    """Yield the encoder "trimmed", "pruned" and "distilled".

    It is distilled on `texts`; `metric` [w, w] is that of `score_metric`. A prefix or adapters
    can't be merged into the encoder's weights: they are removed, and distillation makes up for
    them.
    Raises InputError where the encoder has one and distillation is switched off.
    """
    bare = encoder
    if wrapped(encoder):
        if not options.distil_texts:
            raise InputError(
                "setting `distil_texts`: 0, but a prefix or adapters can't be merged into the "
                "weights and reach the export by distillation alone"
            )
        bare = copy.deepcopy(encoder)
        unwrap(bare)
    trimmed = trim_vocabulary(bare, texts, options.vocabulary_margin)
    yield "trimmed", trimmed
    pruned = prune_layers(trimmed, options.keep_layers)
    pruned = prune_units(pruned, options.keep_heads, options.keep_width, texts, options.seed)
    yield "pruned", pruned
    distil(
        pruned,
        encoder,
        texts,
        metric,
        options.distil_texts,
        options.distil_learning_rate,
        options.seed,
    )
    yield "distilled", pruned


@torch.no_grad()
def user_score_metric(
    towers: TwoTowers, question: Question, profiles: Factors, trained: Bundle
) -> Factors:
    """Return the `score_metric` [w, w] of the first users of `question`.

    `profiles` [u, w] are the vectors of its users' profiles; the version says how much of a history
    counts.
    """
    histories = question.histories[:USERS]
    length = trained.manifest.history_length
    items, ages, liked = pad_histories(
        histories, trained.positive_threshold, length, len(towers.own_history)
    )
    users = towers.user_factors(
        torch.from_numpy(profiles[: len(histories)]),
        towers.own_history,
        torch.from_numpy(items),
        torch.from_numpy(ages),
        torch.from_numpy(liked),
        torch.zeros(len(histories)),
    )
    return score_metric(towers.items.ranking.weight.T.numpy(), users.numpy())
