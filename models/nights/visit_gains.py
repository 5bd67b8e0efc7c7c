"""How users who have just been here weigh blocks and popularity: by likelihood.

- The weights are those under which what users liked next is most likely, in a softmax over the
  items that stand highest by default, each user counting as one.
- Few users can't tell nine weights apart, so that the defaults hold them: a squared penalty on what
  they differ counts as much as PULL users.

Trade-off: likelihood and not NDCG@10, which has no gradient; whether lists are better for it is for
the caller to find out.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from models.data.arrays import Mask, Rows
from models.factors.start import Algorithms
from models.network.towers import Contexts, block_gains
from models.nights.parts import ScoreParts

PULL, STEPS, HIGHEST = 50.0, 40, 2000


def likeliest(parts: ScoreParts, algorithms: Algorithms, users: Mask) -> Algorithms:
    """Return `algorithms` with the gains of blocks and the `visiting` weights of popularity.

    They are fitted to the `users` [u] of `parts` who have a true item among the allowed ones.
    """
    asked = np.flatnonzero(users & (parts.truth & parts.allowed).any(axis=1))
    if len(asked) == 0:
        return algorithms
    default = torch.tensor(
        [*(block.weights.gain for block in algorithms.blocks), *algorithms.popularity.visiting]
    )
    fixed, features, allowed, share = _highest(parts, algorithms, default, asked)
    found = default.clone().requires_grad_()
    temperature = torch.zeros(1, requires_grad=True)
    search = torch.optim.LBFGS([found, temperature], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        scores = fixed + torch.einsum("f,fun->un", found, features)
        likely = torch.log_softmax(
            (scores * temperature.exp()).masked_fill(~allowed, -torch.inf), dim=1
        )
        surprise = -(share * likely.masked_fill(~allowed, 0.0)).sum(dim=1).mean()
        value = surprise + PULL / len(asked) * ((found - default) ** 2).sum()
        value.backward()
        return value

    search.step(loss)
    return _weighed(algorithms, found.detach().tolist())


def _highest(
    parts: ScoreParts, algorithms: Algorithms, default: Tensor, users: Rows
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what the softmax is over: the true items and those that stand highest by default.

    They are `_features`, which may be ranked, and what share each has of the user's true items.
    """
    fixed, features = _features(parts, algorithms, users)
    allowed = torch.from_numpy(parts.allowed[users])
    truth = torch.from_numpy(parts.truth[users]) & allowed
    scores = fixed + torch.einsum("f,fun->un", default, features)
    first = scores.masked_fill(~allowed, -torch.inf).masked_fill(truth, torch.inf)
    items = first.topk(min(HIGHEST, allowed.shape[1])).indices
    fixed, allowed, truth = (one.gather(1, items) for one in (fixed, allowed, truth))
    features = features.gather(2, items.expand(len(features), -1, -1))
    return fixed, features, allowed, truth / truth.sum(dim=1, keepdim=True)


def _features(parts: ScoreParts, algorithms: Algorithms, users: Rows) -> tuple[Tensor, Tensor]:
    """Return the scores [u, n] that no weight changes, and those [f, u, n] of a weight of one."""
    weights = [replace(block.weights, gain=0.0) for block in algorithms.blocks]
    popularity = replace(algorithms.popularity, visiting=(0.0, 0.0, 0.0, 0.0))
    contexts = Contexts.of(parts.known[users], parts.idle[users], popularity)
    columns = parts.popularity[algorithms.recent]
    fixed = contexts.popularity @ columns.T
    fixed += contexts.profile.unsqueeze(1) * parts.profile[users]
    for gain, part in zip(block_gains(weights, contexts), parts.blocks, strict=True):
        fixed += gain.unsqueeze(1) * part[users]
    here = (1.0 - contexts.away).unsqueeze(1)
    visiting = here * contexts.known_well.unsqueeze(1)
    features = [here * part[users] for part in parts.blocks]
    features += [visiting * column for column in columns.T]
    return fixed, torch.stack(features)


def _weighed(algorithms: Algorithms, weights: list[float]) -> Algorithms:
    gains = weights[: len(algorithms.blocks)]
    first, second, third, fourth = weights[len(algorithms.blocks) :]
    return replace(
        algorithms,
        blocks=tuple(
            replace(block, weights=replace(block.weights, gain=gain))
            for block, gain in zip(algorithms.blocks, gains, strict=True)
        ),
        popularity=replace(algorithms.popularity, visiting=(first, second, third, fourth)),
    )
