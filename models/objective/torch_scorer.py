"""The model under training as a scorer, for the validations between training steps."""

import torch
from torch import Tensor

from models.factors.text_map import TextMap
from models.nights.users import TowerScorer
from models.objective.bank import FinetunedModel
from models.objective.task import TrainingTask, profile_rows


def apply_text_map(model: FinetunedModel, task: TrainingTask, known: Tensor) -> TextMap:
    """Solve the text map over the `known` items [n] and put it into the model."""
    solved = model.towers.fit_text_maps(model.bank.items.cpu().numpy(), task.columns, known)
    model.sums.copy_(torch.from_numpy(task.columns @ solved.attributes))
    return solved


def torch_scorer(
    model: FinetunedModel,
    task: TrainingTask,
    history_length: int,
    without: Tensor,
    clock: float | None = None,
) -> TowerScorer:
    """Return a scorer with the model's factors of today and the vectors in its bank.

    Items in `without` [n] go without factors of their own. `clock` is the time of asking in
    seconds, None for right after each user's newest interaction.
    """
    ranking, history = model.item_factors(without)
    return TowerScorer(
        towers=model.towers,
        ranking=ranking,
        history=history,
        vectors=model.bank.vectors,
        rows=profile_rows(task),
        threshold=task.threshold,
        length=history_length,
        clock=clock,
    )
