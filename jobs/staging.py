"""Stages a night: scored and kept lists become files, and the files one commit.

- Where no item may enter a list, users whose lists are kept are copied from the earlier night, and
  the others alone go through the workers.
- Where some may, every user does, with the list that may be kept; the workers rank those whom such
  an item could reach.
- The driver gets a row for each file and commits them all at once (`jobs.night_commit`).

Trade-off: the commit is the first moment at which anything is to be seen of a night.
"""

from dataclasses import dataclass

from pyspark import Accumulator
from pyspark.sql import DataFrame, SparkSession

from jobs import night_frame, progress
from jobs.incremental import Kept
from jobs.night_commit import collected, commit_night
from jobs.night_files import Destination
from jobs.nights import StagedNight
from jobs.tables import RECOMMENDATIONS_STAGED
from jobs.task_counts import Counts, TaskCounts
from jobs.warehouse import Warehouse
from models.dataset import Catalogue
from models.night import NightPlan


@dataclass(frozen=True)
class Staged:
    """What was staged: the night's rows, the users scored, the version of the staged table."""

    rows: int
    users_scored: int
    version: int


def stage(
    session: SparkSession,
    warehouse: Warehouse,
    night: StagedNight,
    catalogue: Catalogue,
    users: int,
    plan: NightPlan,
    kept: Kept | None,
) -> Staged:
    """Score `users` users but for those whose lists are kept, and commit the night.

    The caller holds the table's lock. Raises InputError naming a user whose vector is no number.
    """
    warehouse.create(RECOMMENDATIONS_STAGED)
    passing = users if kept is None or kept.entering else len(kept.score)
    done: Accumulator[Counts] = session.sparkContext.accumulator({}, TaskCounts())
    frame = _frame(session, warehouse, night, catalogue, passing, plan, kept, done)
    with progress.shown(lambda: _total(done, 0), passing, len(catalogue.item_ids)):
        files = collected(frame)
    version = commit_night(warehouse, night.run_date, files, night.metadata())
    return Staged(sum(file["rows"] for file in files), _total(done, 1), version)


def _frame(
    session: SparkSession,
    warehouse: Warehouse,
    night: StagedNight,
    catalogue: Catalogue,
    passing: int,
    plan: NightPlan,
    kept: Kept | None,
    done: Accumulator[Counts],
) -> DataFrame:
    """Return rows about the night's files; `passing` users go through the ranker.

    They are counted in `done`.
    """
    items = night_frame.items_frame(session, catalogue.item_ids)
    tasks = night_frame.tasks(passing, session.sparkContext.defaultParallelism)
    path = warehouse.path(RECOMMENDATIONS_STAGED)
    to = Destination(path, night.run_date, night.model_version)
    scored = copied = passing_lists = None
    if kept is not None:
        scored = night_frame.users_frame(session, kept.score)
        copied = night_frame.kept_frame(session, warehouse, kept, scored)
        if kept.entering:
            passing_lists, scored, copied = copied, None, None
    rows = night_frame.user_rows(
        session, warehouse, night.inputs, items, tasks, scored, passing_lists
    )
    files = night_frame.written_lists(rows, plan, night_frame.plan_lists(plan), to, done)
    return files if copied is None else files.union(night_frame.written_rows(copied, to))


def _total(done: Accumulator[Counts], which: int) -> int:
    return sum(counts[which] for counts in list(done.value.values()))
