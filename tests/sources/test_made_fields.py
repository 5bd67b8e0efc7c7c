"""Fields that are made: constants, kinds of events and templates, told or known by their names."""

import re
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.context import Context
from jobs.settings.layers import load_settings
from jobs.settings.model import Settings
from jobs.sources.columns import told_columns
from jobs.sources.made_fields import Made, fingerprint
from jobs.steps import ingest
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.kinds import largest_kind
from jobs.warehouse.tables import INTERACTIONS, ITEMS, REJECTED_ROWS
from models.errors import InputError

KINDS = '{column = "Event", kinds = {View = 1, return = -5}}'


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("buyer", "buyer"),
        ("{buyer", "{buyer"),
        ("{constant = 1}", Made(constant="1")),
        ("{constant = 2.5}", Made(constant="2.5")),
        ("{constant = true}", Made(constant="true")),
        ("{constant = 'new'}", Made(constant="new")),
        (KINDS, Made(column="Event", kinds=(("view", 1.0), ("return", -5.0)))),
        ('{template = "{a}: {b}"}', Made(template="{a}: {b}")),
    ],
)
def test_a_flag_and_a_file_say_the_same(said: str, expected: str | Made, tmp_path: Path) -> None:
    assert told_columns({}, [f"value={said}"]) == {"value": expected}
    file = tmp_path / "nightrank.toml"
    file.write_text(f"[columns]\nvalue = {said if isinstance(expected, Made) else repr(said)}\n")
    setting = load_settings(file, environment={}).values.columns
    assert told_columns(setting, []) == {"value": expected}
    flags = {"columns": f"{{value = {said}}}"} if isinstance(expected, Made) else {}
    if flags:
        assert load_settings(None, flags, {}).values.columns == setting


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("value={constant = [1]}", "column for `value`: expected the name of a column"),
        ("value={kinds = {view = 1}}", "column for `value`: expected the name of a column"),
        ('value={column = "e", kinds = {}}', "column for `value`: expected the name of a column"),
        ('value={column = "e", kinds = {view = "1"}}', "column for `value`: expected"),
        ('text={template = "no place"}', "column for `text`: expected"),
        ("valeu=rating", "column for `valeu`: no such field, did you mean `value`?"),
        ("value=", "expected FIELD=COLUMN"),
    ],
)
def test_what_makes_no_field_is_refused(pair: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        told_columns({}, [pair])


def test_other_weights_are_another_source() -> None:
    one, other = (Made(column="e", kinds=(("view", weight),)) for weight in (1.0, 2.0))
    assert len({fingerprint(one), fingerprint(other), fingerprint("e")}) == 3


def rows(warehouse: Warehouse, name: str) -> list[dict[str, Any]]:
    return sorted(warehouse.read(name).to_pylist(), key=lambda row: str(list(row.values())))


def write_shop(folder: Path) -> None:
    folder.mkdir()
    (folder / "items.csv").write_text(
        "item_id,brand,description,size\nm,Oak,A mug,2\nt,Elm,A tray,\n", "utf-8"
    )
    (folder / "interactions.csv").write_text(
        "user_id,item_id,event_type,device,ts\n"
        "ada,m,View,phone,1700000000\nada,m,purchase,phone,1700000100\n"
        "ada,m,return,,1700000200\nbob,t,stroke,,1700000300\n", "utf-8"
    )  # fmt: skip


def test_kinds_that_are_known_have_weights(
    spark: SparkSession, tmp_path: Path, warehouse: Warehouse
) -> None:
    write_shop(tmp_path / "shop")
    settings = Settings(warehouse=warehouse.root)
    told = ('title={template = "{brand} {size}"}', 'text={template = "{description} by {brand}."}')
    result = ingest.run(Context.of(settings), str(tmp_path / "shop"), told)
    values = [row["value"] for row in sorted(rows(warehouse, INTERACTIONS), key=lambda r: r["ts"])]
    assert values == [1.0, 5.0, -5.0, 1.0]
    assert largest_kind(warehouse) == 5.0
    version = result["tables"][INTERACTIONS]["version"]
    assert version == warehouse.version(INTERACTIONS)
    ingest.run(Context.of(settings), str(tmp_path / "shop"), told)
    assert warehouse.version(INTERACTIONS) == version
    assert [(row["title"], row["text"]) for row in rows(warehouse, ITEMS)] == [
        ("Oak 2", "A mug by Oak."), ("Elm", "A tray by Elm."),
    ]  # fmt: skip
    assert rows(warehouse, ITEMS)[0]["attributes"] == [
        ("brand", "Oak"), ("description", "A mug"), ("size", "2"),
    ]  # fmt: skip
    told_of = [line.split(": ", 1)[1] for line in result["notes"] if "interactions" in line]
    assert told_of[0].startswith("`value` is made from the kinds in column `event_type`: view 1")
    assert told_of[1].startswith("an item is had by the largest kind that occurs")
    assert told_of[2:] == ["not read: column `device`"]


def test_a_kind_without_a_weight_is_rejected_where_weights_were_told(
    spark: SparkSession, tmp_path: Path, warehouse: Warehouse
) -> None:
    write_shop(tmp_path / "shop")
    (tmp_path / "shop" / "items.csv").write_text("item_id,title\nm,Mug\nt,Tray\n", "utf-8")
    columns = told_columns(
        {"value": {"column": "event_type", "kinds": {"view": 2, "return": -1}}}, []
    )
    assert columns["value"] == Made(column="event_type", kinds=(("view", 2.0), ("return", -1.0)))
    settings = Settings(
        warehouse=warehouse.root,
        columns={"value": {"column": "event_type", "kinds": {"view": 2, "return": -1}}},
    )
    assert ingest.run(Context.of(settings), str(tmp_path / "shop"))["rejected"] == 2
    assert {row["value"] for row in rows(warehouse, INTERACTIONS)} == {2.0, -1.0}
    reasons = {row["reason"].split("; ")[0] for row in rows(warehouse, REJECTED_ROWS)}
    assert any("is none of the kinds that value is made of" in reason for reason in reasons)
    constant = ("value={constant = 5}",)
    again = ingest.run(Context.of(settings), str(tmp_path / "shop"), constant)
    assert (again["rejected"], again["tables"][INTERACTIONS]["total"]) == (0, 4)
    assert largest_kind(warehouse) == 2.0  # a constant is no kind
    assert {row["value"] for row in rows(warehouse, INTERACTIONS)} == {5.0}
    wrong = ('value={column = "evnt_type", kinds = {view = 1}}',)
    with pytest.raises(InputError, match=r"`evnt_type`, told to be `value`, .* `event_type`\?"):
        ingest.run(Context.of(settings), str(tmp_path / "shop"), wrong)
