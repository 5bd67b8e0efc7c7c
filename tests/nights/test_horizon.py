"""A night knows nothing later than its date: it is the night of a warehouse that ended there."""

import datetime as dt
import logging
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import toy_version
from pyspark.sql import SparkSession
from staging import NIGHT, ODD, add, ingest, vacuum

from jobs import cli
from jobs.context import Context
from jobs.nights.horizon import count_users, end_of, horizon, span
from jobs.settings.model import Settings
from jobs.steps import maintain, publish, score
from jobs.steps.history import explain, forget, reproduce
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import (
    INTERACTIONS,
    ITEMS,
    RECOMMENDATIONS,
    RECOMMENDATIONS_STAGED,
    USERS,
)
from models.errors import InputError

DATES = [dt.date(1997, 11, 15), dt.date(1998, 1, 15), dt.date(1998, 3, 1)]
USERS_BY_THEN = [20, 40, 48]
NEWEST = dt.datetime(1998, 4, 22, 15, 12, 21, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def begun(ingested: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The slice of MovieLens and a champion; copy before writing."""
    root = tmp_path_factory.mktemp("begun") / "warehouse"
    shutil.copytree(ingested, root)
    settings = Settings(warehouse=str(root))
    toy_version.champion(settings, known_items(settings), trained_until=NEWEST.timestamp())
    return root


@pytest.fixture(scope="module")
def backfilled(
    begun: Path, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Its newest night and, staged after that, three earlier ones."""
    root = tmp_path_factory.mktemp("backfilled") / "warehouse"
    shutil.copytree(begun, root)
    settings = Settings(warehouse=str(root), allow_later_model=True)
    score.run(Context.of(settings))
    for date in DATES:
        score.run(Context.of(settings), str(date))
    return settings


def known_items(settings: Settings) -> list[str]:
    items = Warehouse(settings.warehouse).read(ITEMS, columns=["item_id"])
    return sorted(items["item_id"].to_pylist())[:250]


def staged(settings: Settings, date: dt.date) -> list[tuple[Any, ...]]:
    rows = Warehouse(settings.warehouse).read(RECOMMENDATIONS_STAGED)
    night = rows.filter(pc.equal(rows["run_date"], date)).to_pylist()
    return sorted(tuple(row.values()) for row in night)


def seen_until(settings: Settings, date: dt.date) -> pa.Table:
    events = Warehouse(settings.warehouse).read(INTERACTIONS)
    return events.filter(pc.less(events["ts"], pa.scalar(end_of(date), events["ts"].type)))


def ended(begun: Path, folder: Path, date: dt.date) -> Settings:
    """Return a warehouse that never saw anything after `date`, with the same champion."""
    shutil.copytree(begun, folder)
    settings = Settings(warehouse=str(folder), allow_later_model=True)
    warehouse = Warehouse(settings.warehouse)
    all_events, events = warehouse.read(INTERACTIONS), seen_until(settings, date)
    warehouse.replace(INTERACTIONS, events, "true")
    for name, column in ((USERS, "user_id"), (ITEMS, "item_id")):
        rows = warehouse.read(name)
        later = set(all_events[column].to_pylist()) - set(events[column].to_pylist())
        gone = pc.is_in(rows[column], value_set=pa.array(later, pa.string()))
        warehouse.replace(name, rows.filter(pc.invert(gone)), "true")
    return settings


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("date", "users"), [*zip(DATES, USERS_BY_THEN, strict=True)])
def test_an_earlier_night_is_that_of_a_warehouse_that_ended_there(
    backfilled: Settings, begun: Path, tmp_path: Path, date: dt.date, users: int
) -> None:
    """The lists of the backfill are kept ones in part, those of the other are all scored."""
    found = staged(backfilled, date)
    other = ended(begun, tmp_path / "ended", date)
    result = score.run(Context.of(other), str(date))
    assert found == staged(other, date)
    by_then = seen_until(backfilled, date)
    assert {row[1] for row in found} == set(by_then["user_id"].to_pylist())
    everything = Warehouse(backfilled.warehouse).read(INTERACTIONS)
    later = set(everything["item_id"].to_pylist()) - set(by_then["item_id"].to_pylist())
    assert later
    assert not {row[3] for row in found} & later
    assert result["users"] == users == publish.run(Context.of(backfilled), str(date))["users"]


@pytest.mark.parametrize("place", [0, -1])
def test_a_score_is_explained_to_the_last_digit(
    backfilled: Settings, tmp_path: Path, place: int
) -> None:
    row = staged(backfilled, DATES[2])[place]
    settings = backfilled.model_copy(update={"reports": str(tmp_path / "reports")})
    found = explain.run(Context.of(settings), row[1], row[3], str(DATES[2]))
    assert found["score"] == pytest.approx(row[4], abs=1e-4)
    assert sum(found["parts"].values()) == pytest.approx(found["score"], abs=1e-4)
    blocks = [found["parts"][block.name] for block in toy_version.BLOCKS]
    assert sum(found["history"].values()) == pytest.approx(sum(blocks), abs=1e-4)
    adding = [item for item, add in found["history"].items() if add > 0]
    assert adding[:3] == row[7]
    assert (tmp_path / "reports" / "explain.png").stat().st_size > 1000
    assert "score" in found["text"]


@pytest.mark.parametrize(
    ("user", "item", "message"),
    [("nobody", "1", "USER 'nobody': nobody of that id"), ("1", "none", "ITEM 'none': table")],
)
def test_who_or_what_is_unknown_is_not_explained(
    backfilled: Settings, user: str, item: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        explain.run(Context.of(backfilled), user, item)


@pytest.fixture(scope="module")
def published(backfilled: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The backfilled nights, published; then somebody likes more, and `maintain` runs."""
    root = tmp_path_factory.mktemp("published") / "warehouse"
    shutil.copytree(backfilled.warehouse, root)
    settings = Settings(warehouse=str(root), audit_churn=1.0)
    for date in DATES:
        publish.run(Context.of(settings), str(date))
    warehouse = Warehouse(settings.warehouse)
    user, item = warehouse.read(INTERACTIONS).to_pylist()[0]["user_id"], known_items(settings)[0]
    early = dt.datetime(1997, 10, 1, tzinfo=dt.UTC)
    late: dict[str, Any] = {"user_id": [user], "item_id": [item], "value": [5.0], "ts": [early]}
    add(warehouse, INTERACTIONS, {**late, "ingest_id": ["late"]})
    maintain.run(Context.of(settings))
    return settings


@pytest.mark.parametrize("date", DATES)
def test_a_night_is_reproduced_after_later_ingests_and_maintain(
    published: Settings, date: dt.date
) -> None:
    rows = Warehouse(published.warehouse).read(RECOMMENDATIONS)
    result = reproduce.run(Context.of(published), str(date))
    expected = pc.sum(pc.equal(rows["run_date"], date)).as_py()
    assert (result["equal"], result["rows"]) == (True, expected)
    assert result["inputs"][INTERACTIONS] < Warehouse(published.warehouse).version(INTERACTIONS)


def test_a_night_that_differs_is_told_by_its_row(published: Settings, tmp_path: Path) -> None:
    shutil.copytree(published.warehouse, tmp_path / "w")
    settings = Settings(warehouse=str(tmp_path / "w"))
    warehouse, where = Warehouse(settings.warehouse), f"run_date = '{DATES[1]}'"
    rows = warehouse.read(RECOMMENDATIONS)
    night = rows.filter(pc.equal(rows["run_date"], DATES[1])).to_pylist()
    night[3]["reason"] = "because"
    table = pa.Table.from_pylist(night, schema=rows.schema)
    warehouse.replace(RECOMMENDATIONS, table, where)
    named = rf"1 of {len(night)} rows differ.* user '{night[3]['user_id']}', .*'because' was publ"
    with pytest.raises(InputError, match=named):
        reproduce.run(Context.of(settings), str(DATES[1]))


def test_what_cannot_be_reproduced_says_why(published: Settings, tmp_path: Path) -> None:
    shutil.copytree(published.warehouse, tmp_path / "w")
    settings = Settings(warehouse=str(tmp_path / "w"), reports=str(tmp_path / "reports"))
    with pytest.raises(InputError, match="night 1997-10-01 has no rows in `recommendations`"):
        reproduce.run(Context.of(settings), "1997-10-01")
    vacuum(Warehouse(settings.warehouse), INTERACTIONS)
    with pytest.raises(InputError, match="`maintain` has removed a version of a table"):
        reproduce.run(Context.of(settings), str(DATES[0]))
    [user] = {row[1] for row in staged(settings, DATES[0])[:1]}
    forget.run(Context.of(settings), (user,))
    with pytest.raises(InputError, match="somebody was forgotten since it was published"):
        reproduce.run(Context.of(settings), str(DATES[0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run-date", "1997-09-19"], "1997-09-19: the first interaction is of 1997-09-20"),
        (["--run-date", "2999-04-25"], "2999-04-25: that is in the future, since today is 2"),
        (["--run-date", "9999-12-31"], "--run-date '9999-12-31': expected a date"),
        (["--run-date", "1998-04-21"], "toy-0 was trained on interactions until 1998-04-22"),
    ],
)
def test_a_date_that_is_no_night_is_refused(
    backfilled: Settings, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = Warehouse(backfilled.warehouse).version(RECOMMENDATIONS_STAGED)
    with pytest.raises(SystemExit) as ended:
        cli.main(["score", "--warehouse", backfilled.warehouse, *arguments])
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert Warehouse(backfilled.warehouse).version(RECOMMENDATIONS_STAGED) == before


def test_the_last_dates_that_need_no_leave(backfilled: Settings) -> None:
    """Those of the newest training, and of long after the newest interaction."""
    settings = backfilled.model_copy(update={"allow_later_model": False})
    for date in ("1998-04-22", "2026-01-04"):
        result = score.run(Context.of(settings), date)
        assert (result["users"], result["trained_until"]) == (60, NEWEST.isoformat())


def test_a_flag_that_stands_alone_gives_leave(
    backfilled: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--run-date", "2999-04-26", "--allow-future-night", "--allow-later-model", "false"]
    cli.main(["score", "--warehouse", backfilled.warehouse, *flags])
    assert "staged_night" in capsys.readouterr().out


def test_a_model_that_does_not_say_until_when_it_was_trained(
    backfilled: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(backfilled.warehouse, tmp_path / "w")
    settings = Settings(warehouse=str(tmp_path / "w"))
    toy_version.champion(settings, known_items(settings), seed=1)
    with caplog.at_level(logging.WARNING):
        assert score.run(Context.of(settings), str(DATES[0]))["trained_until"] == "unknown"
    assert "toy-1 doesn't say until when it was trained" in caplog.text


@pytest.fixture
def small(tmp_path: Path) -> Warehouse:
    """Ada saw a on New Year's Day, bob b on the tenth; ODD and c have no interaction."""
    made = Warehouse(str(tmp_path / "warehouse"))
    ingest(made)
    tenth = dt.datetime(2026, 1, 10, tzinfo=dt.UTC)
    seen: dict[str, Any] = {"user_id": ["bob"], "item_id": ["b"], "value": [5.0], "ts": [tenth]}
    add(made, INTERACTIONS, {**seen, "ingest_id": ["2"]})
    add(made, USERS, {"user_id": ["bob"], "text": ["nurse"], "attributes": [[]]})
    return made


def test_who_and_what_has_no_interaction_is_always_there(small: Warehouse) -> None:
    versions = {name: small.version(name) for name in (INTERACTIONS, USERS)}
    version = versions[INTERACTIONS]
    assert (span(small, version).first, span(small, version).newest) == (
        dt.date(2026, 1, 1),
        dt.date(2026, 1, 10),
    )
    known = horizon(small, version, NIGHT)
    assert (known.later_users, known.later_items) == ({"bob"}, {"b"})
    assert count_users(small, versions, known) == len({"ada", ODD})
    for date in (dt.date(2026, 1, 10), dt.date(2026, 2, 1)):
        known = horizon(small, version, date)
        assert (known.later_users, known.later_items) == (frozenset(), frozenset())
        assert count_users(small, versions, known) == 3


@pytest.mark.parametrize(("hour", "later"), [(23, set()), (24, {"bob"})])
def test_a_date_ends_at_midnight_in_utc(tmp_path: Path, hour: int, later: set[str]) -> None:
    made = Warehouse(str(tmp_path / "warehouse"))
    ingest(made)
    ts = dt.datetime(2026, 1, 5, tzinfo=dt.UTC) + dt.timedelta(hours=hour)
    seen: dict[str, Any] = {"user_id": ["bob"], "item_id": ["b"], "value": [5.0], "ts": [ts]}
    add(made, INTERACTIONS, {**seen, "ingest_id": ["2"]})
    assert horizon(made, made.version(INTERACTIONS), NIGHT).later_users == later


def test_no_interactions_no_night(tmp_path: Path) -> None:
    made = Warehouse(str(tmp_path))
    made.create(INTERACTIONS)
    with pytest.raises(InputError, match="`interactions` is empty"):
        span(made, made.version(INTERACTIONS))
