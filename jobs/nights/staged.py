"""Nights: the dates that score stages, publish shows and rollback returns to.

- A night is named YYYY-MM-DD; by default it is the day after the newest interaction.
- What a staged night was made of (versions of model and tables, k, when users are asked, whether
  later interactions were left out) is in the metadata of the commit that staged it, so that it
  always matches the rows.
- Which published night is visible, `jobs.warehouse.pointer` tells.

Trade-off: the metadata lives as long as Delta's log (30 days by default); a night that was staged
before that has to be scored again before it can be published.
"""

import datetime as dt
import json
import re
from dataclasses import asdict, dataclass, field

from deltalake import DeltaTable

from jobs.nights.horizon import midnight, span
from jobs.settings.model import Settings
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.kinds import with_had_from
from jobs.warehouse.tables import INTERACTIONS, RECOMMENDATIONS_STAGED
from models.data.repeats import Repeats
from models.errors import InputError
from models.serving.manifest import Manifest
from models.serving.night import lately_until


@dataclass(frozen=True)
class StagedNight:
    """What a staged night was made of.

    `inputs` are the versions of the tables read and `table_ids` their ids, `asked` the setting of
    that name, `as_of_date` whether nothing after the run date was read, as releases before 0.3.0
    did, `repeat_days` and `had_from` what keeps an item off a list (`models.data.repeats`), and
    `lately` how its reasons say what is popular of late; empty in those releases, whose reasons
    were others.
    """

    run_date: dt.date
    model_version: str
    k: int
    inputs: dict[str, int]
    asked: str = "night"
    as_of_date: bool = False
    table_ids: dict[str, str] = field(default_factory=dict)
    repeat_days: float | None = None
    lately: str = ""
    had_from: float = 0.0

    @property
    def repeats(self) -> Repeats:
        """What keeps an item off a list."""
        return Repeats(self.repeat_days, self.had_from)

    @property
    def clock(self) -> float | None:
        """The time of asking in seconds; None for right after each user's last visit."""
        return None if self.asked == "last_visit" else midnight(self.run_date)

    def metadata(self) -> str:
        """Return the text that the staging commit carries."""
        return json.dumps({**asdict(self), "run_date": self.run_date.isoformat()}, sort_keys=True)


def night_to_stage(
    settings: Settings,
    warehouse: Warehouse,
    manifest: Manifest,
    date: dt.date,
    versions: dict[str, int],
) -> StagedNight:
    """Return the night `date` as settings ask for it, by a model and `versions` of tables."""
    repeats = with_had_from(settings, warehouse, versions).repeat_policy
    return StagedNight(
        run_date=date,
        model_version=manifest.version,
        k=settings.k,
        inputs=versions,
        asked=settings.asked,
        as_of_date=True,
        table_ids={name: warehouse.table_id(name) for name in versions},
        repeat_days=repeats.days,
        lately=lately_until(manifest, midnight(date)),
        had_from=repeats.had_from,
    )


def parse_night(text: str, flag: str) -> dt.date:
    """Return the date that `text` names; InputError naming `flag` where it isn't YYYY-MM-DD."""
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            found = dt.date.fromisoformat(text)
            if found < dt.date.max:  # a night has a day after it
                return found
    except ValueError:
        pass
    raise InputError(f"{flag} {text!r}: expected a date as YYYY-MM-DD, for example 2026-01-05")


def night_or_default(warehouse: Warehouse, run_date: str | None) -> dt.date:
    """Return the night `run_date`, by default the day after the newest interaction (UTC)."""
    if run_date is not None:
        return parse_night(run_date, "--run-date")
    return span(warehouse, warehouse.version(INTERACTIONS)).newest_night


def staged_night(warehouse: Warehouse, run_date: dt.date) -> tuple[StagedNight, int]:
    """Return what the newest staging of `run_date` was made of, and the table version to read.

    Raises InputError where that night isn't staged.
    """
    for night in staged_nights(warehouse):
        if night.run_date == run_date:
            return night, warehouse.version(RECOMMENDATIONS_STAGED)
    raise InputError(
        f"night {run_date} isn't staged: run `nightrank score --run-date {run_date}` first"
    )


def refuse_other_tables(warehouse: Warehouse, night: StagedNight) -> None:
    """Raise InputError where a table that `night` was made of has been made anew since."""
    for name, table_id in night.table_ids.items():
        if warehouse.table_id(name) != table_id:
            raise InputError(
                f"night {night.run_date} was scored from another table `{name}`, which was made "
                f"anew since: run `nightrank score --run-date {night.run_date}` again"
            )


def staged_nights(warehouse: Warehouse) -> list[StagedNight]:
    """Return what each night that is still there was made of when it was staged last."""
    if not warehouse.exists(RECOMMENDATIONS_STAGED):
        return []
    table = DeltaTable(warehouse.path(RECOMMENDATIONS_STAGED))
    there = warehouse.nights(RECOMMENDATIONS_STAGED)
    found: dict[dt.date, StagedNight] = {}
    for commit in table.history():
        night = staged_by(commit.get("userMetadata"))
        if night is not None and night.run_date in there:
            found.setdefault(night.run_date, night)
    return list(found.values())


def staged_by(metadata: object) -> StagedNight | None:
    """Return what a commit's metadata says of its night, None where it says nothing."""
    try:
        content = json.loads(str(metadata))
        return StagedNight(**{**content, "run_date": dt.date.fromisoformat(content["run_date"])})
    except (KeyError, TypeError, ValueError):  # a commit of another kind, or none of ours
        return None
