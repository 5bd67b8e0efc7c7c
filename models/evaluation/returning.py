"""The question of a trial as a night would ask it: of users who came back on a later day.

Each is asked with the days that had really passed between their last visit and the first like that
was withheld. A model takes one time of asking for all, so histories are moved in time until that
time is the same for everybody: what counts is how long ago the newest interaction is.
"""

from dataclasses import replace

import numpy as np

from models.data.interactions import SECONDS_IN_A_DAY, History
from models.evaluation.question import Question

A_LATER_DAY = 0.5


def question_of_returning(question: Question) -> tuple[Question, float]:
    """Return the question to those who came back after half a day or more, and its time in seconds.

    Their histories are moved in time; users without a history are left out.
    """
    truth = question.trial.truth
    first = np.full(truth.n_users, np.inf)
    np.minimum.at(first, truth.user, truth.time)
    newest = np.array([one.time[-1] if len(one.time) else np.nan for one in question.histories])
    away = first[question.users] - newest
    rows = np.flatnonzero(away >= A_LATER_DAY * SECONDS_IN_A_DAY)
    clock = float(truth.time.max(initial=0.0))
    moved = [
        _moved(question.histories[row], clock - away[row] - newest[row]) for row in rows.tolist()
    ]
    return replace(question.at(rows), histories=moved), clock


def _moved(history: History, seconds: float) -> History:
    return History(history.item, history.value, history.time + seconds)
