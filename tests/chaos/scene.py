"""The warehouse that is hurt: nights that anybody can tell apart, and versions to promote.

Every row of a night carries the night's generation as its score, so that a reader sees at once
where rows of two stagings are mixed.
"""

import datetime as dt
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import toy_version
from deltalake import CommitProperties, write_deltalake
from version_store import give_store

from jobs.context import Context
from jobs.nights.staged import StagedNight
from jobs.settings.model import Settings
from jobs.steps import publish
from jobs.warehouse.delta import Warehouse
from jobs.warehouse.tables import INTERACTIONS, ITEMS, RECOMMENDATIONS_STAGED, TABLES, USERS
from models.serving.bundle import write_manifest

FIRST = dt.date(2026, 1, 1)
NIGHTS = [FIRST + dt.timedelta(days=day) for day in range(10)]
USER_COUNT, K = 40, 5
FORGOTTEN = 30  # of them, who may be forgotten; the others stay
# less than there is, so that `maintain` has something to remove
KEPT = ("--keep-nights", "4", "--keep-runs", "100", "--keep-versions", "1")
NDCG = {"chaos-1": 0.20, "chaos-2": 0.21, "chaos-3": 0.22}


def build(root: Path, with_versions: bool) -> Settings:
    """Make the warehouse under `root` with staged nights, of which the first is published."""
    settings = Settings(warehouse=str(root), reports=str(root / "reports"))
    warehouse = Warehouse(settings.warehouse)
    items = [f"i{number}" for number in range(K + 3)]
    empty = [[]] * len(items)
    for name, columns in {
        ITEMS: {
            "item_id": items, "title": items, "text": items, "attributes": empty,
            "available": [True] * len(items), "features": [None] * len(items),
        },
        USERS: {
            "user_id": users(), "text": ["u"] * USER_COUNT, "attributes": [[]] * USER_COUNT,
        },
        INTERACTIONS: {
            "user_id": ["u0"], "item_id": ["i0"], "value": [5.0],
            "ts": [dt.datetime(2025, 12, 30, tzinfo=dt.UTC)], "ingest_id": ["chaos"],
        },
    }.items():  # fmt: skip
        warehouse.append(name, pa.table(columns, schema=TABLES[name].arrow_schema))
    for generation, night in enumerate(NIGHTS, 1):
        stage(root, night, generation)
    publish.run(Context.of(settings), str(FIRST))
    if with_versions:
        _register(settings)
    return settings


def users() -> list[str]:
    return [f"u{number}" for number in range(USER_COUNT)]


def stage(root: Path, night: dt.date, generation: int) -> None:
    """Commit a staged night as `score` does, in which every score is the generation."""
    warehouse = Warehouse(str(root))
    with warehouse.lock(RECOMMENDATIONS_STAGED):
        inputs = {name: warehouse.version(name) for name in (ITEMS, USERS, INTERACTIONS)}
        known = warehouse.read(USERS, inputs[USERS], ["user_id"])["user_id"].to_pylist()
        rows = _rows(night, generation, sorted(known))
        made_of = StagedNight(night, "m1", K, inputs).metadata()
        warehouse.create(RECOMMENDATIONS_STAGED)
        write_deltalake(
            warehouse.path(RECOMMENDATIONS_STAGED),
            pa.Table.from_pylist(rows, schema=TABLES[RECOMMENDATIONS_STAGED].arrow_schema),
            mode="overwrite",
            predicate=f"run_date = '{night}'",
            commit_properties=CommitProperties(custom_metadata={"userMetadata": made_of}),
        )


def _rows(night: dt.date, generation: int, known: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "run_date": night, "user_id": user, "rank": rank, "item_id": f"i{rank + 1}",
            "score": float(generation), "model_version": "m1", "reason": "chaos",
        }
        for user in known
        for rank in range(1, K + 1)
    ]  # fmt: skip


def _register(settings: Settings) -> None:
    from models.serving.bundle import RANKER
    from models.serving.ranker_graph import build_ranker

    give_store(settings)
    registry = Context.of(settings).registry
    for version, ndcg in NDCG.items():
        folder = registry.folder_of(version)
        folder.mkdir(parents=True)
        build_ranker(folder / RANKER)
        described = replace(toy_version.manifest(version, ["i0"]), split="warm")
        registry.register(write_manifest(folder, described))
        floor = {"nights_best_baseline_ndcg@10": 0.1, "nights_gain_high": 0.2}
        registry.log_metrics(version, {"nights_ndcg@10": ndcg} | floor)


def findings(root: str) -> list[str]:
    """Return what `doctor` finds, once it has mended what it can."""
    from jobs.steps.upkeep import doctor

    result = doctor.run(Context.of(Settings(warehouse=root, reports=root)), repair=True)
    return [f"doctor: {one['place']}: {one['problem']}" for one in result["findings"]]


def source(folder: Path, seed: int, turned: bool = False) -> list[tuple[str, str, float]]:
    """Write a source of 60 users and 30 items for `ingest`; return its user, item and value.

    It is always the same for a seed; `turned` has other values and is the same but for them.
    """
    chance = random.Random(seed)
    folder.mkdir(parents=True)
    pairs = sorted({(f"a{chance.randrange(60)}", f"b{chance.randrange(30)}") for _ in range(600)})
    values = [float(chance.randint(1, 5)) for _ in pairs]
    rows = [
        (user, item, 6 - value if turned else value)
        for (user, item), value in zip(pairs, values, strict=True)
    ]
    lines = [f"{u},{i},{v:g},{1_760_000_000 + 60 * n}" for n, (u, i, v) in enumerate(rows)]
    text = "\n".join(["user_id,item_id,value,ts", *lines])
    (folder / "interactions.csv").write_text(text + "\n", "utf-8")
    items = [{"item_id": one, "title": f"B {one}", "text": "drama"} for one in source_items()]
    text = "\n".join(map(json.dumps, items))
    (folder / "items.jsonl").write_text(text + "\n", "utf-8")
    return rows


def source_items() -> list[str]:
    return [f"b{number}" for number in range(30)]
