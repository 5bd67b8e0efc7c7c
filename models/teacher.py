"""Where training starts: a closed-form collaborative model, factorised.

- EASE gives an item-item matrix B (Steck, "Embarrassingly shallow autoencoders", WWW 2019).
- Its truncated singular value decomposition gives each item history factors (rows) and ranking
  factors (columns), so that a user's score is one dot product.

Trade-off: the dense inverse serves catalogues up to some 20,000 items.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from models.dataset import Interactions
from models.ease import Ease
from models.network import Start


def collaborative_start(positives: Interactions, factors: int, ridge: float, seed: int) -> Start:
    """Return EASE with penalty `ridge`, cut to its largest `factors` singular values."""
    one_item_each = sparse.csr_array(sparse.eye_array(positives.n_items))
    weights = Ease(positives, ridge).apply(one_item_each)
    rank = min(factors, positives.n_items - 1)
    left, values, right = svds(weights, k=rank, random_state=np.random.default_rng(seed))
    scale = np.sqrt(values)
    history = np.zeros((positives.n_items, factors), dtype=np.float32)
    ranking = np.zeros((positives.n_items, factors + 1), dtype=np.float32)
    history[:, :rank] = left * scale
    ranking[:, :rank] = right.T * scale
    return Start(
        ranking,
        history,
        np.full(factors, 10.0, dtype=np.float32),
        np.full(factors, 0.3, dtype=np.float32),
    )
