"""The set-up: what is locked, what the scripts look like, and what they do when something fails."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from setuptools import find_packages

PROJECT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "scripts/uv.lock")
SCRIPTS = [".ci/run", *sorted(f"scripts/{path.name}" for path in PROJECT.glob("scripts/*.sh"))]


def pyproject() -> dict[str, Any]:
    """Return what pyproject.toml says."""
    return tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))


def locked(name: str) -> dict[str, str]:
    """Return the versions by package in the lock file `name`."""
    text = (PROJECT / name).read_text("utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, flags=re.MULTILINE))


def asked_for() -> set[str]:
    """Return the names of all packages that are installed; the bench's peers are not."""
    document = pyproject()
    named = [group for name, group in document["dependency-groups"].items() if name != "bench"]
    groups = [document["project"]["dependencies"], *named]
    texts = [text for group in groups for text in group if isinstance(text, str)]
    return {re.split(r"[^A-Za-z0-9._-]", text)[0].lower() for text in texts}


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder."""
    return subprocess.run(
        command, cwd=PROJECT, env={**os.environ, **environment}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("name", LOCKS)
def test_each_locked_package_has_a_hash_and_no_index_is_named(name: str) -> None:
    text = (PROJECT / name).read_text("utf-8")
    assert "://" not in text
    assert "index-url" not in text
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert {entry.split("==")[0] for entry in entries} == set(locked(name))
    assert all("--hash=sha256:" in entry for entry in entries)


def test_all_that_is_asked_for_is_locked() -> None:
    assert asked_for() <= set(locked("requirements.lock"))
    assert set(locked("scripts/uv.lock")) == {"uv"}
    assert locked("scripts/uv.lock")["uv"] == locked("requirements.lock")["uv"]


def test_packages_that_overwrite_each_other_do_not_meet() -> None:
    assert not {"onnxruntime", "pyspark-client"} & set(locked("requirements.lock"))
    assert {"onnxruntime-gpu", "pyspark"} <= set(locked("requirements.lock"))


def test_the_jars_fit_the_locked_wheel() -> None:
    rows = [line.split() for line in (PROJECT / "scripts/jars.lock").read_text().splitlines()]
    versions = {artifact: version for _, _, artifact, version in rows}
    wheel = locked("requirements.lock")["delta-spark"]
    spark = ".".join(locked("requirements.lock")["pyspark"].split(".")[:2])
    assert versions == {f"delta-spark_{spark}_2.13": wheel, "delta-storage": wheel}
    assert all(re.fullmatch(r"[0-9a-f]{64}", sha) for sha, *_ in rows)


def test_every_folder_of_code_is_installed_and_the_command_is_there() -> None:
    document = pyproject()
    patterns = document["tool"]["setuptools"]["packages"]["find"]["include"]
    assert set(find_packages(str(PROJECT), include=patterns)) == {
        ".".join(path.parent.relative_to(PROJECT).parts)
        for folder in ("jobs", "models")
        for path in (PROJECT / folder).rglob("*.py")
    }
    assert document["project"]["scripts"] == {"nightrank": "jobs.cli:main"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_stop_at_errors_and_pass_shellcheck(script: str) -> None:
    text = (PROJECT / script).read_text("utf-8")
    assert "set -euo pipefail" in text or "Sourced by" in text
    done = run(str(Path(sys.executable).with_name("shellcheck")), "-x", script)
    assert done.returncode == 0, done.stdout


def test_a_step_that_fails_at_first_is_tried_again(tmp_path: Path) -> None:
    """The index may refuse a package at the first contact: the third try succeeds here."""
    attempts = tmp_path / "attempts"
    command = f"""
      source scripts/retry.sh
      sleep() {{ :; }}
      flaky() {{ echo x >>{attempts}; [ "$(wc -l <{attempts})" -ge 3 ]; }}
      retry flaky && ! retry false
    """
    done = run("bash", "-euo", "pipefail", "-c", command)
    assert done.returncode == 0, done.stderr
    assert attempts.read_text().count("x") == 3
    assert "try 2 of 5 failed: flaky" in done.stderr
    assert "gave up" in done.stderr


def test_every_target_is_described_and_ci_calls_two_of_them() -> None:
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    for target in ("setup", "demo", "test", "lint", "airflow", "bench", "lock", "clean"):
        assert re.search(rf"^{target}:.*## \S", makefile, flags=re.MULTILINE), target
    ci = (PROJECT / ".ci/run").read_text("utf-8")
    assert [line for line in ci.splitlines() if line.startswith("make ")] == [
        "make lint",
        "make test",
    ]
