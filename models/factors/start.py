"""The collaborative part: closed-form blocks that meet in one dot product.

- `liked together`: EASE (Steck, WWW 2019) over the users' positives and, as further rows, over
  what items have in common in text and attributes; histories fade.
- `liked next`: transitions to what was liked soon afterwards, and weakly back; the last few
  positives count.
- `factors`: implicit ALS (Hu, Koren and Volinsky, ICDM 2008), users folded in by their linear
  part, since the exact one needs a solve for each user.
- `alike`: the content of the newest positives.
- `profile`: which items people with such a profile like.
- `popular`: popularity of all time and of late, as counts and as their logarithms: counts lead
  those of whom little is known, and what rises leads those who come back.
- Item-item matrices are cut to low rank; every block's ranking factors are whitened, so that the
  scores of a user's unit vector have standard deviation one and blocks can be weighed.

Trade-off: dense item-item matrices serve catalogues up to some 20,000 items. Gradient training of
these parts was tried and lost (docs/experiments.md); the constants were chosen on the validation
parts of MovieLens-100K.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from models.data.arrays import Factors, Numbers
from models.data.interactions import SECONDS_IN_A_DAY, Interactions
from models.data.matrices import user_item_matrix

EASE_PENALTY, CONTENT_WEIGHT, CONTENT_RANK = 200.0, 10.0, 96
WINDOW, BACKWARDS = 7, 0.3
ALS_FACTORS, ALS_CONFIDENCE, ALS_PENALTY, ALS_ROUNDS = 32, 4.0, 5.0, 10
RECENT_HALF_LIFE_DAYS = 14.0
PROFILE_PENALTY, PROFILE_RANK = 10.0, 4
POPULARITY_SIZE = 4


@dataclass(frozen=True)
class Block:
    """Some dimensions of the product, and how a history is weighed in them.

    An item of age a (0: the newest) weighs floor + .5 ** (a / half_life); the block's unit vector
    is multiplied by `gain`, which turns into `away` for users who come back after days.
    """

    name: str
    size: int
    floor: float
    half_life: float
    gain: float
    away: float


@dataclass(frozen=True)
class Popularity:
    """Weights of the popularity dimensions: log and count of all time, log and count of late.

    With n positives of the user, d days since the newest, new = `unknown` * .5 ** (n /
    `half_length`), s = 1 - .5 ** (d / `idle_half_life`) and m = s * (1 - .5 ** (n /
    `half_length`)), the four weigh m * `returning`, the count of all time (1 - s) * new more, the
    count of late s * new more. A profile counts `profile` * new.
    """

    unknown: float = 32.0
    half_length: float = 1.5
    profile: float = 0.25
    idle_half_life: float = 0.5
    returning: tuple[float, float, float, float] = (-5.6, -0.9, 8.8, 1.5)


@dataclass(frozen=True)
class Start:
    """Closed-form factors of the known items.

    `ranking` [n, d]: the blocks' dimensions, then p for profiles, then four of popularity;
    `history` [n, h]: the blocks' dimensions alone; `known` [n]: items with positives;
    a profile vector [w] means (vector - `profile_mean`) @ `profile_weights` [w, p].
    """

    blocks: tuple[Block, ...]
    popularity: Popularity
    ranking: Factors
    history: Factors
    known: NDArray[np.bool_]
    profile_weights: Factors
    profile_mean: Factors


def collaborative_start(
    positives: Interactions, content: sparse.csr_array, profiles: Factors, factors: int
) -> Start:
    """Fit all blocks to training positives.

    `content` [n, c] are the items' text and attribute features, `profiles` [u, w] the users'
    profile vectors, `factors` the dimensions of all blocks together; about half go to EASE.
    """
    counts = np.bincount(positives.item, minlength=positives.n_items).astype(np.float64)
    topics = _principal(content, min(CONTENT_RANK, factors // 5))
    als_size = min(ALS_FACTORS, factors // 8)
    ease_size = factors // 2 - als_size // 2
    next_size = factors - ease_size - als_size - topics.shape[1]
    pairs = [
        low_rank(_ease(positives, topics, counts), ease_size),
        low_rank(transitions(positives, counts), next_size),
        _als(positives, als_size),
        (topics, topics.copy()),
    ]
    blocks = (
        Block("liked together", ease_size, 0.2, 5.0, 1.0, 1.0),
        Block("liked next", next_size, 0.0, 2.0, 0.7, 0.14),
        Block("factors", als_size, 0.2, 5.0, 0.3, 0.12),
        Block("alike", topics.shape[1], 0.3, 10.0, 0.2, 0.13),
    )
    whitened = [whiten(history, ranking) for history, ranking in pairs]
    profile, weights, mean = _profile(positives, profiles)
    return Start(
        blocks=blocks,
        popularity=Popularity(),
        ranking=np.hstack([*(r for _, r in whitened), profile, _popularity(positives)]).astype(
            np.float32
        ),
        history=np.hstack([h for h, _ in whitened]).astype(np.float32),
        known=counts > 0,
        profile_weights=weights,
        profile_mean=mean,
    )


def _ease(positives: Interactions, topics: Factors, counts: Numbers) -> Factors:
    """Return item-item weights [n, n], damped for popular items on both sides."""
    users = user_item_matrix(positives).toarray().astype(np.float32)
    rows = np.vstack([users, np.sqrt(CONTENT_WEIGHT) * topics.T]).astype(np.float32)
    if len(rows) < positives.n_items:
        inner = rows @ rows.T
        inner[np.diag_indices_from(inner)] += EASE_PENALTY
        solved = linalg.solve(inner, rows, assume_a="pos")
        projection = rows.T @ solved
        weights = projection / (1.0 - np.diag(projection))
    else:
        gram = rows.T @ rows
        gram[np.diag_indices_from(gram)] += EASE_PENALTY
        inverse = linalg.inv(gram)
        weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    left = np.where(counts > 0, (counts + 1) ** -0.2, 0.0)[:, None]
    return np.asarray(left * weights * (counts + 1) ** -0.1, dtype=np.float32)


def transitions(positives: Interactions, counts: Numbers) -> sparse.csr_array:
    """Return how often an item was liked within `WINDOW` positives of another [n, n], damped."""
    order = np.lexsort((positives.time, positives.user))
    users, items = positives.user[order], positives.item[order]
    sources, targets, values = [], [], []
    for step in range(1, WINDOW + 1):
        same = users[:-step] == users[step:]
        earlier, later = items[:-step][same], items[step:][same]
        sources += [earlier, later]
        targets += [later, earlier]
        values += [np.ones(len(earlier)), np.full(len(earlier), BACKWARDS)]
    shape = (positives.n_items, positives.n_items)
    entries = (np.concatenate(values), (np.concatenate(sources), np.concatenate(targets)))
    matrix = sparse.csr_array(entries, shape=shape)
    left, right = sparse.diags_array((counts + 1) ** -0.5), sparse.diags_array((counts + 1) ** -0.3)
    return sparse.csr_array(left @ matrix @ right)


def _als(positives: Interactions, size: int) -> tuple[Factors, Factors]:
    """Return history and ranking factors [n, size] of implicit ALS."""
    users = sparse.csr_array(user_item_matrix(positives))
    items = sparse.csr_array(users.T)
    ranking = np.random.default_rng(0).normal(0.0, 0.1, (positives.n_items, size))
    for _ in range(ALS_ROUNDS):
        ranking = _solved(items, _solved(users, ranking))
    inverse = np.linalg.inv(ranking.T @ ranking + ALS_PENALTY * np.eye(size))
    return (ranking @ inverse).astype(np.float32), ranking.astype(np.float32)


def _solved(matrix: sparse.csr_array, factors: Numbers) -> Numbers:
    """Return the factors of the rows of `matrix` [m, n] that fit `factors` [n, f] best."""
    size = factors.shape[1]
    gram = factors.T @ factors + ALS_PENALTY * np.eye(size)
    solved = np.zeros((matrix.shape[0], size))
    for row in range(matrix.shape[0]):
        liked = factors[matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]]
        if len(liked):
            weighted = gram + ALS_CONFIDENCE * liked.T @ liked
            solved[row] = np.linalg.solve(weighted, (1 + ALS_CONFIDENCE) * liked.sum(axis=0))
    return solved


def low_rank(
    matrix: Factors | sparse.csr_array | LinearOperator, rank: int
) -> tuple[Factors, Factors]:
    """Return factors [n, r] and [m, r] whose product is nearest to `matrix` [n, m].

    Randomised subspace iteration (Halko et al., SIAM Review 2011), seeded; where the matrix has a
    lower rank, the last dimensions are zero.
    """
    kept = min(rank, *matrix.shape)
    size = (matrix.shape[1], min(kept + 20, *matrix.shape))
    sketch = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    for _ in range(4):
        image, _ = np.linalg.qr(matrix @ sketch)
        sketch, _ = np.linalg.qr(matrix.T @ image)
    basis, _ = np.linalg.qr(matrix @ sketch)
    left, values, right = np.linalg.svd((matrix.T @ basis).T, full_matrices=False)
    root = np.sqrt(values[:kept])
    history, ranking = (basis @ left)[:, :kept] * root, right[:kept].T * root
    padding = ((0, 0), (0, rank - kept))
    return (
        np.pad(history, padding).astype(np.float32),
        np.pad(ranking, padding).astype(np.float32),
    )


def whiten(history: Numbers | Factors, ranking: Numbers | Factors) -> tuple[Factors, Factors]:
    """Turn a block so that its ranking factors have mean zero and covariance one.

    Scores of a user change by a constant that is the same for all items.
    """
    centred = ranking.astype(np.float64) - ranking.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    strong = (values > 1e-6 * values[-1]) & (values > 1e-18)
    root = np.sqrt(np.where(strong, values, 1.0)) * strong
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=strong)
    return (
        np.asarray(history @ (vectors * root), dtype=np.float32),
        np.asarray(centred @ (vectors * inverse), dtype=np.float32),
    )


def _principal(content: sparse.csr_array, rank: int) -> Factors:
    """Return the principal components [n, r] of the content, of mean square row length one."""
    rows, columns = content.shape
    mean = np.asarray(content.mean(axis=0)).ravel()
    ones = aslinearoperator(np.ones((rows, 1))) @ aslinearoperator(mean[None, :])
    centred = aslinearoperator(content) - ones
    scores, directions = low_rank(centred, min(rank, rows, columns))
    components = scores * np.linalg.norm(directions, axis=0)
    scale = np.sqrt(np.mean((components**2).sum(axis=1)))
    return np.asarray(components / max(float(scale), 1e-9), dtype=np.float32)


def _popularity(positives: Interactions) -> Numbers:
    """Return popularity [n, 4] of all time and of late, each as logarithm and count, standardised.

    Of late: positives fade by half in `RECENT_HALF_LIFE_DAYS` before the newest.
    """
    newest = positives.time.max()
    fading = 0.5 ** ((newest - positives.time) / SECONDS_IN_A_DAY / RECENT_HALF_LIFE_DAYS)
    total = np.bincount(positives.item, minlength=positives.n_items).astype(np.float64)
    recent = np.bincount(positives.item, fading, minlength=positives.n_items)
    recent *= total.sum() / max(float(recent.sum()), 1e-9)
    columns = np.stack([np.log1p(total), total, np.log1p(recent), recent], axis=1)
    return np.asarray((columns - columns.mean(axis=0)) / np.maximum(columns.std(axis=0), 1e-9))


def _profile(positives: Interactions, profiles: Factors) -> tuple[Factors, Factors, Factors]:
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
    gram = centred.T @ centred + PROFILE_PENALTY * np.eye(centred.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (liked - liked.mean(axis=0)))
    left, values, right = np.linalg.svd(weights, full_matrices=False)
    size = min(PROFILE_RANK, len(values))
    turned, ranking = whiten(scale * left[:, :size] * values[:size], right[:size].T)
    return ranking, turned, mean.astype(np.float32)
