"""What docker-compose.yml promises of every service, and that its images are made of what is pinned."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"migrate", "s3-bucket"}
OURS = {name for name, service in SERVICES.items() if "build" in service}
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined_bounded_and_started_again(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"]["max-size"]
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory", "pids"}
    assert ("ports" in service) == (name == "gateway")
    assert ("front" in service["networks"]) == (name == "gateway")
    if name not in ONE_SHOT:
        assert service["restart"] == "unless-stopped"
        assert "healthcheck" in service or name in OURS  # an image of ours has its own
    assert "privileged" not in service
    assert "cap_add" not in service or name not in OURS


@pytest.mark.parametrize("name", sorted(OURS))
def test_no_secret_is_in_the_environment(name: str):
    service = SERVICES[name]
    for variable, value in service["environment"].items():
        assert not re.search("PASSWORD|KEY|SECRET", variable) or variable.endswith("_FILE"), variable
        if variable.endswith("_PASSWORD_FILE"):
            assert value.rpartition("/")[2] in service["secrets"]


def test_workers_have_longer_than_their_grace_to_stop():
    for name in ("worker-cpu", "worker-short", "worker-gpu"):
        assert SERVICES[name]["stop_grace_period"] == "45s"
        assert SERVICES[name]["environment"]["OCTAVO_STOP_GRACE_S"] == "${OCTAVO_STOP_GRACE_S:-30}"


def test_what_is_not_core_waits_for_its_profile():
    core = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert core == {
        "postgres", "broker", "sessions", "migrate", "gateway", "relay", "worker-cpu", "worker-short", "model-server",
        "recommender",
    }  # fmt: skip
    assert COMPOSE["networks"]["data"] == {"internal": True}


def test_only_the_broker_keeps_every_message():
    assert {"appendonly yes", "maxmemory-policy noeviction"} <= set(SERVICES["broker"]["command"])
    assert {"appendonly no", "maxmemory-policy allkeys-lru"} <= set(SERVICES["sessions"]["command"])


def test_the_example_names_every_variable_and_its_default():
    text = (ROOT / "docker-compose.yml").read_text()
    used = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text))
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    for name, default in example.items():
        assert used.get(name, "") == default, name


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_an_image_is_pinned_unprivileged_and_checked(file: Path):
    text = file.read_text()
    assert re.search(r"^ARG BASE_IMAGE=python:3\.11\.\d+-slim-bookworm$", text, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"scratch", "${BASE_IMAGE}"}
    last = text.rpartition("FROM ")[2]
    assert "\nUSER 10001:10001\n" in last
    assert "\nHEALTHCHECK " in last
    assert re.search(r'^CMD \["python", "-m", "services\.', last, re.MULTILINE)
    assert "--require-hashes" in text
    assert ("torch.txt" in text) == (file.name == "worker.Dockerfile")
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    assert {source.rstrip("/") for sources in copied for source in sources.split()} <= set(let_in)


def test_boards_ask_the_provisioned_source():
    (board,) = [json.loads(file.read_text()) for file in (ROOT / "docker" / "grafana" / "boards").glob("*.json")]
    source = yaml.safe_load((ROOT / "docker/grafana/provisioning/datasources/prometheus.yml").read_text())
    (provisioned,) = source["datasources"]
    assert board["panels"]
    shown = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in shown} == {provisioned["uid"]}
