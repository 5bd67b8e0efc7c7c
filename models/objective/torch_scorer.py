"""The model under training as a scorer, for the validations between training steps."""

import torch
from torch import Tensor

from models.data.arrays import Factors
from models.data.interactions import History
from models.factors.text_map import TextMap, solve_text_map
from models.nights.users import user_factors
from models.objective.bank import FinetunedModel
from models.objective.task import TrainingTask, profile_rows


def apply_text_map(model: FinetunedModel, task: TrainingTask, known: Tensor) -> TextMap:
    """Solve the text map over the `known` items [n] and put it into the model."""
    targets = torch.cat([model.towers.own_ranking, model.towers.own_history], dim=1)
    solved = solve_text_map(
        model.bank.items.cpu().numpy(),
        task.columns,
        targets.cpu().numpy(),
        known.cpu().numpy(),
    )
    model.towers.set_text_maps((solved.weights, solved.bias))
    model.sums.copy_(torch.from_numpy(task.columns @ solved.attributes))
    return solved


class TorchScorer:
    """Scores users with the state of a model at construction and the vectors in its bank.

    Items in `without` [n] go without factors of their own. `clock` is the time of asking in
    seconds, None for right after each user's newest interaction.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: FinetunedModel,
        task: TrainingTask,
        history_length: int,
        without: Tensor,
        clock: float | None = None,
    ) -> None:
        self._towers = model.towers
        self._vectors = model.bank.vectors
        self._ranking, self._history = model.item_factors(without)
        self._rows = profile_rows(task)
        self._threshold = task.threshold
        self._length = history_length
        self._clock = clock

    @torch.no_grad()
    def __call__(self, histories: list[History], profiles: list[str]) -> Factors:
        """Return scores [u, n]."""
        vectors = self._vectors
        rows = torch.tensor([self._rows[profile] for profile in profiles], device=vectors.device)
        users = user_factors(
            self._towers,
            vectors[rows],
            self._history,
            histories,
            self._threshold,
            self._length,
            self._clock,
        )
        scores: Factors = (users @ self._ranking.T).cpu().numpy()
        return scores
