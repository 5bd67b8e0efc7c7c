"""The images and the compose file: checked by hadolint and the Compose specification's schema."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
IMAGES = sorted(DOCKER.glob("*.Dockerfile"))


def tool(name: str, *arguments: str) -> str:
    """Run a tool of the development group; return what it complains of."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name(name)), *arguments],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


def compose() -> dict[str, Any]:
    """Return the compose file, its anchors and merges resolved."""
    document = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
    assert isinstance(document, dict)
    return document


def test_there_is_one_image_for_airflow_and_one_for_the_jobs() -> None:
    assert [path.name for path in IMAGES] == ["airflow.Dockerfile", "jobs.Dockerfile"]


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.stem)
def test_images_pass_hadolint(image: Path) -> None:
    assert tool("hadolint", "--failure-threshold", "info", str(image)) == ""


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.stem)
def test_images_copy_what_the_project_has_and_the_context_lets_in(image: Path) -> None:
    ignored = (DOCKER.parent / ".dockerignore").read_text("utf-8").splitlines()
    lines = [line for line in image.read_text("utf-8").splitlines() if line.startswith("COPY")]
    for line in lines:
        *sources, _ = [word for word in line.split()[1:] if not word.startswith("--")]
        for source in sources:
            assert (DOCKER.parent / source).exists(), line
            assert f"!{source.split('/')[0]}" in ignored, line


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.stem)
def test_images_do_not_run_as_root(image: Path) -> None:
    users = [line for line in image.read_text("utf-8").splitlines() if line.startswith("USER ")]
    assert users == ["USER 50000"]


def test_compose_follows_the_specification() -> None:
    path = str(DOCKER / "compose.yaml")
    assert tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", path) == ""


def test_a_misspelt_key_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text("services: {a: {image: b, comand: [c]}}")
    assert "comand" in tool(
        "check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(wrong)
    )


def test_secrets_come_from_outside_and_ports_stay_on_this_host() -> None:
    text = (DOCKER / "compose.yaml").read_text("utf-8")
    for name in ("POSTGRES_PASSWORD", "AIRFLOW_JWT_SECRET", "AIRFLOW_FERNET_KEY"):
        assert f"${{{name}:?" in text
    ports = [
        port for service in compose()["services"].values() for port in service.get("ports", [])
    ]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_services_wait_for_services_that_exist() -> None:
    services = compose()["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
    assert services["jobs"]["command"] == ["airflow", "scheduler"]
    assert services["jobs"]["environment"]["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
