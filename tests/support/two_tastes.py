"""Positives of two tastes, whose right lists are visible by eye."""

import numpy as np
from scipy import sparse

from models.data.interactions import Interactions
from models.factors.start import Start, collaborative_start

N_ITEMS = 12


def two_tastes(users: int = 24) -> Interactions:
    """Even users like items 0 to 5, one after the other; odd users like items 6 to 11."""
    rows = [(u, (u % 2) * 6 + (u // 2 + i) % 6, i) for u in range(users) for i in range(5)]
    user, item, time = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return Interactions(user, item, np.full(len(user), 5.0), time * 86400.0, users, N_ITEMS)


def start_of(interactions: Interactions) -> Start:
    """Fit a start of 24 factors, with random content and profiles."""
    random = np.random.default_rng(0)
    content = sparse.csr_array(random.standard_normal((N_ITEMS, 4)).astype(np.float32))
    profiles = random.standard_normal((interactions.n_users, 3)).astype(np.float32)
    return collaborative_start(interactions, 4.0, content, profiles, factors=24)
