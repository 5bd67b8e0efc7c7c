"""doctor finds each of many damages by name, and nothing on a healthy warehouse."""

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import damages
import pyarrow as pa
import pytest
import toy_version
from deltalake import DeltaTable, write_deltalake
from staging import NIGHT, RIGHT, ingested, publish_night
from version_store import give_store

from jobs import cli
from jobs.context import Context
from jobs.health import machine
from jobs.settings.model import Settings
from jobs.steps.upkeep import doctor
from jobs.versions.registry import CHAMPION
from jobs.warehouse.tables import TABLES
from models.errors import InputError
from models.serving.bundle import write_manifest

SECOND = NIGHT + dt.timedelta(days=1)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with two published nights and a champion, which is no more than its files."""
    settings = ingested(tmp_path_factory.mktemp("healthy"))
    for night in (NIGHT, SECOND):
        publish_night(settings, RIGHT, night)
    give_store(settings)
    registry = Context.of(settings).registry
    folder = registry.folder_of("toy")
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"weights")
    registry.register(write_manifest(folder, toy_version.manifest("toy", ["a"])))
    registry.set_alias(CHAMPION, "toy")
    return Path(settings.warehouse)


@dataclass(frozen=True)
class Sick:
    """A damage: what it does to the root of a warehouse, and words of the finding."""

    damage: Callable[[Path], None]
    words: tuple[str, ...]


def table(name: str, damage: damages.Damage, *words: str) -> Sick:
    return Sick(lambda root: damage(root / name), (f"table `{name}`", *words))


def rewrite(name: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        rows = DeltaTable(str(root / name)).to_pyarrow_table()
        write_deltalake(str(root / name), change(rows), mode="overwrite")

    return damage


def drop_check(root: Path) -> None:
    DeltaTable(str(root / "recommendations")).alter.drop_constraint("rank_from_1")


def raise_schema(root: Path) -> None:
    DeltaTable(str(root / "items")).alter.set_table_properties(
        {"nightrank.schema_version": "99"}, raise_if_not_exists=False
    )


def lose_newest_entry(table: Path) -> None:
    damages.log_entries(table)[-1].unlink()


def garble_checkpoint(table: Path) -> None:
    (table / "_delta_log" / "_last_checkpoint").write_text("{", "utf-8")


def alter_manifest(root: Path) -> None:
    file = root / "models" / "toy" / "model.json"
    file.write_text(file.read_text("utf-8").replace('"split"', '"spilt"'), "utf-8")


def replace_manifest(root: Path) -> None:
    described = replace(toy_version.manifest("toy", ["a"]), metrics={"ndcg@10": 0.9})
    write_manifest(root / "models" / "toy", described)


def rename_version(root: Path) -> None:
    (root / "models" / "toy").rename(root / "models" / "other")


def break_store(root: Path) -> None:
    file = root / "models" / "mlflow.db"
    content = bytearray(file.read_bytes())
    content[4096:40960] = bytes(36864)
    file.write_bytes(content)


def link(target: str) -> Callable[[Path], None]:
    return lambda root: (root / "items" / "link").symlink_to(target)


def replace_locks(root: Path) -> None:
    shutil.rmtree(root / ".locks")
    (root / ".locks").write_text("", "utf-8")


RECOMMENDATIONS = "recommendations"
SICK = {
    "cut data file": table("items", damages.cut_data, "bytes, the log says"),
    "lost data file": table(RECOMMENDATIONS, damages.lose_data, ".parquet is missing"),
    "damaged pages": table("users", damages.turn_bits, ".parquet can't be read"),
    "garbage in the log": table("interactions", damages.garble_log, ".json is no JSON"),
    "empty log entry": table("items", damages.empty_log_entry, ".json is empty"),
    "lost entry in the log": table(RECOMMENDATIONS, damages.lose_log_entry, "entry 1 is missing"),
    "lost log": table("runs", damages.lose_log, "has no entry, but there is data"),
    "lost newest entry": table("items", lose_newest_entry, "but a run has seen"),
    "lost newest night": Sick(
        lambda root: lose_newest_entry(root / RECOMMENDATIONS),
        (f"night {SECOND}", "it has 0 rows, and 3 were published"),
    ),
    "garbage for a checkpoint": table("runs", garble_checkpoint, "_last_checkpoint is no JSON"),
    "lost check": Sick(drop_check, (f"table `{RECOMMENDATIONS}`", "`rank_from_1` is gone")),
    "newer release": Sick(raise_schema, ("table `items`", "of a newer release")),
    "repeated key": Sick(
        rewrite("items", lambda rows: pa.concat_tables([rows, rows.slice(0, 1)])),
        ("table `items`", "1 keys stand in it more than once, such as ('a',)"),
    ),
    "unknown item": Sick(
        rewrite("items", lambda rows: rows.filter(pa.compute.field("item_id") != "a")),
        ("table `interactions`", "1 rows name items that `items` lacks, such as 'a'"),
    ),
    "lost run": Sick(
        rewrite("runs", lambda rows: rows.filter(pa.compute.field("sequence") != 1)),
        (f"night {NIGHT}", "it was never published"),
    ),
    "lost runs": Sick(
        lambda root: shutil.rmtree(root / "runs"), ("table `runs`", "no night is visible")
    ),
    "lost rows of a night": Sick(
        rewrite(RECOMMENDATIONS, lambda rows: rows.slice(1)), ("night ", "and 3 were published")
    ),
    "changed model file": Sick(
        lambda root: (root / "models" / "toy" / "weights").write_bytes(b"other"),
        ("model version toy", "weights: its sha256 is"),
    ),
    "lost model file": Sick(
        lambda root: (root / "models" / "toy" / "weights").unlink(),
        ("model version toy", "weights is missing"),
    ),
    "lost manifest": Sick(
        lambda root: (root / "models" / "toy" / "model.json").unlink(),
        ("model version toy", "has no model.json"),
    ),
    "altered manifest": Sick(alter_manifest, ("model version toy", "key `split` is missing")),
    "replaced manifest": Sick(
        replace_manifest, ("model version toy", "isn't the one that was registered")
    ),
    "lost version": Sick(
        lambda root: shutil.rmtree(root / "models" / "toy"),
        ("model version toy", "the registry has the champion toy, whose folder is gone"),
    ),
    "renamed version": Sick(rename_version, ("model version other", "is that of toy")),
    "version in the making": Sick(
        lambda root: (root / "models" / "toy.0123.partial").mkdir(), ("models", "in the making")
    ),
    "damaged registry": Sick(break_store, ("mlflow.db", "it is damaged")),
    "broken link": Sick(link("nowhere"), ("items/link", "leads nowhere")),
    "link to itself": Sick(link("link"), ("items/link", "leads nowhere")),
    "locks are no folder": Sick(replace_locks, (".locks", "it should be a folder")),
    "mangled sheet": Sick(
        lambda root: (root / "active_learning.csv").write_text("a,b\n1,2\n", "utf-8"),
        ("active_learning.csv", "column `item_id` is missing"),
    ),
}


def copied(healthy: Path, tmp_path: Path) -> Context:
    root = tmp_path / "warehouse"
    shutil.copytree(healthy, root)
    return Context.of(Settings(warehouse=str(root), reports=str(root)))


def files_under(root: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".locks" not in path.parts
    }


def test_a_healthy_warehouse_has_no_finding_and_stays_as_it_is(
    healthy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(copied(healthy, tmp_path).warehouse.root)
    before = files_under(root)
    cli.main(["doctor", "--warehouse", str(root), "--reports", str(root)])
    assert capsys.readouterr().out == "nothing is damaged\n"
    assert files_under(root) == before


@pytest.mark.parametrize("name", SICK)
def test_each_damage_is_found_by_name(healthy: Path, tmp_path: Path, name: str) -> None:
    context = copied(healthy, tmp_path)
    root, sick = Path(context.warehouse.root), SICK[name]
    sick.damage(root)
    before = files_under(root)
    result = doctor.run(context)
    found = [line for line in result["text"].splitlines() if all(w in line for w in sick.words)]
    assert found, result["text"]
    assert result["exit_code"] == 1
    assert files_under(root) == before


@pytest.mark.parametrize(
    "name", ["lost check", "garbage for a checkpoint", "version in the making"]
)
def test_what_can_be_mended_without_loss_is(
    healthy: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    context = copied(healthy, tmp_path)
    root = context.warehouse.root
    SICK[name].damage(Path(root))
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor", "--warehouse", root, "--reports", root])
    assert stop.value.code == 1
    cli.main(["doctor", "--repair", "--warehouse", root, "--reports", root])
    assert "mended: " in capsys.readouterr().out
    assert doctor.run(context)["exit_code"] == 0
    if name == "lost check":
        enforced = DeltaTable(f"{root}/recommendations").metadata().configuration
        assert "delta.constraints.rank_from_1" in enforced


def test_what_the_machine_lacks_is_found(
    healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = copied(healthy, tmp_path).warehouse
    assert list(machine.machine_findings(warehouse)) == []
    monkeypatch.setattr(machine, "LEAST_ROOM", 2**60)
    monkeypatch.setattr(machine, "delta_jars", lambda: [tmp_path / "torn.jar"])
    (tmp_path / "torn.jar").write_bytes(b"PK")
    found = [one.line() for one in machine.machine_findings(warehouse)]
    assert any("MB are left on its disk" in line for line in found)
    assert any("torn.jar: it is damaged" in line for line in found)


def test_without_a_warehouse_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    for place, message in (
        (str(tmp_path / "typo"), "no tables under"),
        ("s3://bucket/w", "reads files of a local warehouse"),
    ):
        with pytest.raises(InputError, match=message):
            doctor.run(Context.of(Settings(warehouse=place)))
    assert not (tmp_path / "typo").exists()


def test_a_warehouse_of_an_earlier_release_is_healthy_and_not_migrated(tmp_path: Path) -> None:
    declared = TABLES["runs"]
    names = [name for name in declared.column_names if name != "sequence"]
    old = pa.schema([declared.arrow_schema.field(name) for name in names])
    root = ingested(tmp_path).warehouse
    DeltaTable.create(f"{root}/runs", old)
    doctor.run(Context.of(Settings(warehouse=root)))
    assert "sequence" not in [field.name for field in DeltaTable(f"{root}/runs").schema().fields]
