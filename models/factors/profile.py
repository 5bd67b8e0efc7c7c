"""The dimensions of the profile: which items people with such a profile text like.

Users are taken some at a time, and what they liked stays sparse, so that no matrix of users by
items is made.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.data.arrays import Factors
from models.data.interactions import Interactions
from models.data.matrices import user_item_matrix
from models.factors.low_rank import whiten

USERS_AT_ONCE = 65_536


@dataclass(frozen=True)
class ProfileOptions:
    """Options of the profile's regression, chosen on the validation parts of MovieLens-100K."""

    penalty: float = 10.0
    """Ridge penalty, where profile vectors have mean square length one."""
    rank: int = 4
    """Dimensions that a profile has in the product."""


def fit_profile(
    positives: Interactions, profiles: Factors, options: ProfileOptions
) -> tuple[Factors, Factors, Factors]:
    """Return ranking factors [n, p], weights [w, p] and the mean [w] of profile vectors [u, w].

    Ridge regression from profile vectors to the users' normalised positives, cut to low rank.
    """
    matrix = user_item_matrix(positives)
    counts = np.asarray(matrix.sum(axis=1)).ravel()
    active = np.flatnonzero(counts > 0)
    liked = sparse.csr_array(sparse.diags_array(1 / np.sqrt(counts[active])) @ matrix[active])
    blocks = [slice(at, at + USERS_AT_ONCE) for at in range(0, len(active), USERS_AT_ONCE)]
    means = [profiles[active[block]].mean(axis=0).astype(np.float64) for block in blocks]
    mean = np.average(means, axis=0, weights=[len(active[block]) for block in blocks])
    gram, product, total = (np.zeros((mean.size, size)) for size in (mean.size, liked.shape[1], 1))
    for block in blocks:
        centred = profiles[active[block]] - mean
        gram += centred.T @ centred
        product += (sparse.csr_array(liked[block]).T @ centred).T
        total += centred.sum(axis=0)[:, None]
    product -= total * np.asarray(liked.mean(axis=0)).ravel()
    scale = 1.0 / np.sqrt(max(float(np.trace(gram)) / len(active), 1e-12))
    penalised = scale**2 * gram + options.penalty * np.eye(len(gram))
    weights = np.linalg.solve(penalised, scale * product)
    left, values, right = np.linalg.svd(weights, full_matrices=False)
    size = min(options.rank, len(values))
    turned, ranking = whiten(scale * left[:, :size] * values[:size], right[:size].T)
    return ranking, turned, mean.astype(np.float32)
