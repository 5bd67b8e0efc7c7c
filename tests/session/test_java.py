"""The Java that is found: 17 or 21 alone, in a fixed order."""

from pathlib import Path

import pytest

from jobs.spark.java import java_home, major_version
from models.errors import InputError


def java(home: Path, version: str, *, release: bool = True) -> Path:
    """Make a Java at `home` that says it is `version`."""
    (home / "bin").mkdir(parents=True)
    program = home / "bin" / "java"
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    if release:
        (home / "release").write_text(f'IMPLEMENTOR="Debian"\nJAVA_VERSION="{version}"\n')
    return home


def test_java_home_comes_first_then_the_path_then_debian_then_ours(tmp_path: Path) -> None:
    homes = {
        name: java(tmp_path / name, "17.0.1") for name in ("home", "path", "debian/j", "deps/java")
    }
    environment = {"JAVA_HOME": str(homes["home"]), "PATH": str(homes["path"] / "bin")}
    debian, deps = tmp_path / "debian", tmp_path / "deps"
    assert java_home(environment, debian, deps) == homes["home"]
    del environment["JAVA_HOME"]
    assert java_home(environment, debian, deps) == homes["path"]
    environment["PATH"] = str(tmp_path / "nothing")
    assert java_home(environment, debian, deps) == homes["debian/j"]
    assert java_home(environment, tmp_path / "nothing", deps) == homes["deps/java"]


def test_other_versions_are_passed_over(tmp_path: Path) -> None:
    newest = java(tmp_path / "new", "25.0.3")
    oldest = java(tmp_path / "old", "1.8.0_292")
    right = java(tmp_path / "deps" / "java", "21.0.2")
    environment = {"JAVA_HOME": str(newest), "PATH": str(oldest / "bin")}
    assert java_home(environment, tmp_path / "none", tmp_path / "deps") == right


def test_without_a_release_file_java_itself_is_asked(tmp_path: Path) -> None:
    assert major_version(java(tmp_path / "a", "17.0.15", release=False)) == 17
    assert major_version(tmp_path / "absent") == 0


def test_no_java_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no Java 17 or 21 found.*run `make setup`"):
        java_home({"PATH": ""}, tmp_path, tmp_path)
