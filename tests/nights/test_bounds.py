"""A night that surprises is stopped with its figure, an ordinary one passes."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from staging import NEW_YEAR, Row, add, copied, stage, visible

from jobs import cli
from jobs.context import Context
from jobs.settings.model import Settings
from jobs.steps import publish, sql
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS_STAGED, USERS
from models.errors import InputError

FIRST, SECOND, THIRD = (dt.date(2026, 1, day) for day in (5, 6, 7))
N_USERS, N_ITEMS, K = 60, 100, 2


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """60 users and 100 items; two ordinary nights are published."""
    folder = tmp_path_factory.mktemp("two-nights")
    made = Settings(warehouse=str(folder / "warehouse"))
    warehouse = Warehouse(made.warehouse)
    grow(warehouse, range(N_ITEMS), range(N_USERS))
    seen: dict[str, Any] = {"user_id": ["u0"], "item_id": ["i99"], "value": [5.0], "ts": [NEW_YEAR]}
    add(warehouse, INTERACTIONS, {**seen, "ingest_id": ["1"]})
    for night in (FIRST, SECOND):
        stage(warehouse, lists(), night)
        publish.run(Context.of(made), str(night))
    return made


@pytest.fixture
def settings(two_nights: Settings, tmp_path: Path) -> Settings:
    """A copy for one test."""
    return copied(two_nights, tmp_path)


def grow(warehouse: Warehouse, items: range, users: range) -> None:
    ids = [f"i{n}" for n in items]
    nothing: dict[str, Any] = {"attributes": [[]] * len(ids), "features": [None] * len(ids)}
    texts = {"title": ids, "text": ids, "available": [True] * len(ids)}
    add(warehouse, ITEMS, {"item_id": ids, **texts, **nothing})
    names = [f"u{n}" for n in users]
    add(warehouse, USERS, {"user_id": names, "text": names, "attributes": [[]] * len(names)})


def lists(shift: int = 0, users: int = N_USERS, items: int = 90) -> list[Row]:
    """Return a list of two items for each user; `shift` moves all of them."""
    return [
        (f"u{user}", rank, f"i{(user + shift + 7 * rank) % items}", 1.0 / rank)
        for user in range(users)
        for rank in (1, 2)
    ]


def one_list() -> list[Row]:
    return [
        (f"u{user}", rank, f"i{rank}", 1.0 / rank) for user in range(N_USERS) for rank in (1, 2)
    ]


def try_night(settings: Settings, rows: list[Row], *accept: str) -> dict[str, Any]:
    stage(Warehouse(settings.warehouse), rows, THIRD)
    return publish.run(Context.of(settings), str(THIRD), accept)


def assert_stopped(settings: Settings, rows: list[Row], message: str) -> None:
    """The night is refused with its figure, stays staged, and readers see the one before."""
    before = visible(settings)
    with pytest.raises(InputError, match=message):
        try_night(settings, rows)
    assert visible(settings) == before
    nights = Warehouse(settings.warehouse).nights(RECOMMENDATIONS_STAGED)
    assert THIRD in nights


def test_a_like_night_passes_and_says_its_figures(settings: Settings) -> None:
    rows = [(user, rank, "i95" if user < "u2" else item, score) for user, rank, item, score
            in lists() if rank == 1]  # fmt: skip
    changed = sorted(rows + [row for row in lists() if row[1] == 2])
    result = try_night(settings, changed)
    assert result["visible_night"] == str(THIRD)
    assert result["accepted"] is None
    assert result["figures"]["churn"] == pytest.approx(
        sum(r[2] == "i95" for r in rows) / 120, abs=1e-4
    )
    assert (result["figures"]["users"], result["figures"]["missing_users"]) == (0.0, 0.0)


def test_churn_out_of_bounds(settings: Settings) -> None:
    assert_stopped(
        settings,
        lists(shift=3),
        r"churn 1\.000 \(120 of 120 entries are new since night 2026-01-06\), audit_churn allows",
    )


def test_half_of_the_users_are_missing(settings: Settings) -> None:
    warehouse = Warehouse(settings.warehouse)
    warehouse.replace(
        USERS, warehouse.read(USERS).slice(0, 0), "CAST(substr(user_id, 2) AS INT) >= 30"
    )
    with pytest.raises(InputError) as refused:
        try_night(settings, lists(users=30))
    for part in ("users 0.500 (30 where 60 were usual), audit_users allows 0.3",
                 "missing_users 0.500 (30 of 60 users of night 2026-01-06)",
                 "rows 0.500"):  # fmt: skip
        assert part in str(refused.value)


def test_a_catalogue_that_shrank(settings: Settings) -> None:
    warehouse = Warehouse(settings.warehouse)
    warehouse.replace(
        ITEMS, warehouse.read(ITEMS).slice(0, 0), "CAST(substr(item_id, 2) AS INT) >= 10"
    )
    assert_stopped(
        settings,
        lists(items=10),
        r"catalogue 0\.900 \(10 where 100 were usual\), audit_catalogue allows 0\.5; coverage 0\.8",
    )


def test_one_list_for_everybody(settings: Settings) -> None:
    assert_stopped(
        settings,
        one_list(),
        r"overlap 1\.000 \(two users' lists share 1\.000 of their items\), audit_overlap allows",
    )


def test_an_item_that_too_many_lists_hold(settings: Settings) -> None:
    """By default everybody may get the same item: a new one that nobody has seen yet, say."""
    rows = [(u, rank, "i95" if rank == 1 else item, score) for u, rank, item, score in lists()]
    strict = settings.model_copy(update={"audit_top_item": 0.9})
    assert_stopped(strict, rows, r"top_item 1\.000 \(60 of 60 lists have the same item\)")
    assert try_night(settings, rows)["figures"]["top_item"] == 1.0


def test_a_first_night_of_one_list_is_stopped_too(tmp_path: Path) -> None:
    settings = Settings(warehouse=str(tmp_path / "warehouse"))
    warehouse = Warehouse(settings.warehouse)
    grow(warehouse, range(N_ITEMS), range(N_USERS))
    seen: dict[str, Any] = {"user_id": ["u0"], "item_id": ["i99"], "value": [5.0], "ts": [NEW_YEAR]}
    add(warehouse, INTERACTIONS, {**seen, "ingest_id": ["1"]})
    stage(warehouse, one_list(), FIRST)
    with pytest.raises(InputError, match="overlap 1"):
        publish.run(Context.of(settings), str(FIRST))


def test_an_accepted_figure_passes_and_its_reason_is_told(settings: Settings) -> None:
    result = try_night(settings, lists(shift=3), "churn=a new  champion; expected")
    assert result["visible_night"] == str(THIRD)
    [[message]] = sql.run(
        Context.of(settings),
        "SELECT message FROM runs WHERE status = 'succeeded' AND run_date = '2026-01-07'",
    )["rows"]
    assert message.startswith("accepted churn 1.000 (120 of 120")
    assert message.endswith(": a new champion; expected")
    with pytest.raises(InputError, match="overlap 1"):  # one check is no other
        try_night(settings, one_list(), "churn=expected")


@pytest.mark.parametrize(
    ("accept", "message"),
    [
        ("chrun=typo", "--accept 'chrun': no such check; there are users, rows, missing_users"),
        ("churn", "--accept churn: say why, as churn=REASON"),
        ("churn= ", "--accept churn: say why, as churn=REASON"),
    ],
)
def test_what_cannot_be_accepted(
    settings: Settings, capsys: pytest.CaptureFixture[str], accept: str, message: str
) -> None:
    stage(Warehouse(settings.warehouse), lists(shift=3), THIRD)
    with pytest.raises(SystemExit) as ended:
        cli.main(["publish", "--warehouse", settings.warehouse, "--accept", accept])
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert message in line
