"""The dimensions of the profile: which items people with such a profile text like."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.data.arrays import Factors
from models.data.interactions import Interactions
from models.data.matrices import user_item_matrix
from models.factors.low_rank import whiten


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
    active = counts > 0
    liked = (sparse.diags_array(1 / np.sqrt(counts[active])) @ matrix[active]).toarray()
    mean = profiles[active].mean(axis=0).astype(np.float64)
    centred = profiles[active] - mean
    scale = 1.0 / np.sqrt(max(float((centred**2).sum(axis=1).mean()), 1e-12))
    centred = centred * scale
    gram = centred.T @ centred + options.penalty * np.eye(centred.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (liked - liked.mean(axis=0)))
    left, values, right = np.linalg.svd(weights, full_matrices=False)
    size = min(options.rank, len(values))
    turned, ranking = whiten(scale * left[:, :size] * values[:size], right[:size].T)
    return ranking, turned, mean.astype(np.float32)
