"""Where a warehouse may stand: `file:` URIs are folders, and odd characters are refused."""

import os
from pathlib import Path

import pytest

from jobs.warehouse.delta import Warehouse
from jobs.warehouse.paths import local_path
from models.errors import InputError


@pytest.mark.parametrize(
    "text",
    ["file:/data/wh", "file:///data/wh", "file://localhost/data/wh", "FILE:/data/wh", "/data/wh",
     "file:/data/wh/", "file:///data/w%68"],
)  # fmt: skip
def test_a_file_uri_is_a_folder(text: str) -> None:
    warehouse = Warehouse(text)
    assert warehouse.root == "/data/wh"
    assert not warehouse.remote


@pytest.mark.parametrize("text", ["s3://bucket/wh", "gs://bucket/wh/", "abfss://c@a.net/wh"])
def test_a_uri_of_an_object_store_stays(text: str) -> None:
    warehouse = Warehouse(text)
    assert warehouse.remote
    assert warehouse.root == text.rstrip("/")


@pytest.mark.parametrize(
    "text", ["s3:/bucket/wh", "hdfs:/wh", "file:wh", "file://elsewhere/wh", "dbfs:/wh", "file:"]
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"neither a folder nor a URI"):
        Warehouse(text)


@pytest.mark.parametrize(
    "name",
    ["my%20data", "100%", "a%2Fb", "data [2024]", "a]", "a\\b", "a?b", "a*", "{a,b}", "a|b", "a^b",
     "two\nlines", "tab\t", os.fsdecode(b"caf\xe9")],
)  # fmt: skip
@pytest.mark.parametrize("below", ["", "wh"])
def test_a_path_that_delta_misreads_is_refused(tmp_path: Path, name: str, below: str) -> None:
    with pytest.raises(InputError, match=r"Delta can't have '.+' in a path"):
        Warehouse(str(tmp_path / name / below))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    ["a b", "é", "日本", "a'b", 'a"b', "a+b", "a&b=c", "~a", "$a", "a,b", "(a)", "a#b", "a@b"],
)
def test_a_table_stands_under_any_other_name(tmp_path: Path, name: str) -> None:
    warehouse = Warehouse(str(tmp_path / name))
    with warehouse.lock("triples"):
        warehouse.create("triples")
    assert warehouse.read("triples").num_rows == 0
    assert (tmp_path / name / "triples" / "_delta_log").is_dir()


@pytest.mark.parametrize("text", ["shop [1]", "./shop", "a:b", "C:", "x"])
def test_a_plain_path_stays(text: str) -> None:
    assert local_path(text) == text
