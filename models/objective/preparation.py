"""Preparation of a fine-tune: closed-form factors, the teacher and the buckets.

- The teacher's factors are the principal axes of the training users' scores under the closed form,
  so that a direction counts as much as it changes rankings.

Trade-off: a fifth of the known items isn't trained on while settings and weights are chosen.
"""

import numpy as np
import torch
from scipy import sparse

from models.data.arrays import Factors, Rows
from models.data.interactions import Interactions, histories
from models.data.texts import length_buckets
from models.factors.start import Algorithms, Start, collaborative_start
from models.factors.text_map import content_features, solve_text_map
from models.network.towers import TwoTowers, unit
from models.nights.recipe import Recipe
from models.nights.users import user_factors
from models.objective.bank import FinetunedModel, TextBank
from models.objective.task import TrainingTask, user_rows

TEACHER_FACTORS, TEACHER_USERS = 64, 4096


def item_buckets(model: FinetunedModel, size: int) -> list[Rows]:
    """Return buckets of the known items that aren't withheld, by text length."""
    rows = np.flatnonzero((model.towers.known & ~model.withheld).cpu().numpy())
    lengths = np.asarray(model.bank.lengths)[rows]
    return [rows[bucket] for bucket in length_buckets(lengths.tolist(), size)]


@torch.no_grad()
def teacher_factors(task: TrainingTask, towers: TwoTowers, bank: TextBank, length: int) -> Factors:
    """Return the teacher's factors [n, t] of the items, of mean zero and mean square length one."""
    train = task.split.tuning.labelled_train
    everyone = np.unique(train.user)
    some = everyone[:: -(-len(everyone) // TEACHER_USERS)]
    scatter = torch.zeros(towers.own_ranking.shape[1], towers.own_ranking.shape[1])
    rows = torch.from_numpy(user_rows(task))
    for users in np.array_split(some, -(-len(some) // 64)):
        profiles = bank.vectors[rows[torch.from_numpy(users)]]
        past = histories(train, users)
        factors = user_factors(towers, profiles, towers.own_history, past, task.threshold, length)
        scatter += (unit(factors).T @ unit(factors)).cpu()
    values, axes = np.linalg.eigh(scatter.numpy())
    kept = axes[:, -TEACHER_FACTORS:] * np.sqrt(np.maximum(values[-TEACHER_FACTORS:], 0.0))
    factors_of_items = towers.own_ranking.cpu().numpy() @ kept
    known = towers.known.cpu().numpy()
    centred = factors_of_items - factors_of_items[known].mean(axis=0)
    scale = np.sqrt((centred[known] ** 2).sum(axis=1).mean())
    return np.asarray(centred / max(float(scale), 1e-9), dtype=np.float32)


@torch.no_grad()
def begin_at_ridge(model: FinetunedModel, task: TrainingTask) -> None:
    """Initialise the student with a ridge regression from the pretrained vectors."""
    learned = (model.towers.known & ~model.withheld).cpu().numpy()
    texts_alone = sparse.csr_array(np.zeros((len(task.item_texts), 0), dtype=np.float32))
    vectors, teacher = model.bank.items.cpu().numpy(), model.teacher.cpu().numpy()
    ridge = solve_text_map(vectors, texts_alone, teacher, learned)
    model.student.weight.copy_(torch.from_numpy(ridge.weights.T))
    model.student.bias.copy_(torch.from_numpy(ridge.bias))


def closed_form_start(
    task: TrainingTask,
    vectors: Factors,
    labelled: Interactions,
    factors: int,
    algorithms: Algorithms,
) -> Start:
    """Fit the closed form to `labelled` interactions; `vectors` [t, w] are the bank's."""
    content = content_features(vectors[: len(task.item_texts)], task.columns)
    profiles = vectors[user_rows(task)]
    return collaborative_start(labelled, task.threshold, content, profiles, factors, algorithms)


def recipe_of(task: TrainingTask, vectors: Factors, factors: int, length: int) -> Recipe:
    """Return the recipe of the closed form under the text vectors [t, w] of the bank."""
    return Recipe(
        items=vectors[: len(task.item_texts)],
        profiles=vectors[user_rows(task)],
        profile_texts=task.profiles,
        columns=task.columns,
        factors=factors,
        length=length,
    )
