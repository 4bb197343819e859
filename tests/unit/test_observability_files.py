"""The board and the alert rules: they parse, fire when they should, and ask for nothing that no process shows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from libs.database.engine import make_engine
from libs.metrics_port import process_registry
from libs.serving.deployments.metrics import DeploymentMetrics
from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from services.model_server.app import make_app as make_model_server
from services.model_server.settings import ModelServerSettings
from services.recommender.app import make_app as make_recommender
from services.recommender.memory import open_memory
from services.recommender.settings import RecommenderSettings
from services.worker.gpu_metrics import GpuMetrics
from services.worker.metrics import RelayMetrics, WorkerMetrics
from services.worker.queue_metrics import QueueMetrics
from tests.support.promtool import promtool

ROOT = Path(__file__).parents[2]
RULES_FILE = ROOT / "docker/prometheus/rules.yml"
RULES: list[dict[str, Any]] = yaml.safe_load(RULES_FILE.read_text())["groups"][0]["rules"]
BOARD = json.loads((ROOT / "docker/grafana/boards/octavo.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
ASKED = [(panel["title"], target["expr"], target["legendFormat"]) for panel in PANELS for target in panel["targets"]]
ASKED += [(rule["alert"], rule["expr"], "") for rule in RULES]
OF_EVERY_TARGET = {"job", "instance"}
OF_PROMETHEUS = {"up": OF_EVERY_TARGET, "ALERTS": {"alertstate"}}


@pytest.fixture(scope="module")
def registries() -> Iterator[list[CollectorRegistry]]:
    """What each of our processes shows."""
    engine = make_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    recommender_settings = RecommenderSettings()
    gateway, model_server = create_app(GatewaySettings()), make_model_server(ModelServerSettings())
    recommender = make_recommender(recommender_settings)
    apps = [app.state.metrics.registry for app in (gateway, model_server, recommender)]
    DeploymentMetrics(apps[1])
    relay, worker = process_registry(), process_registry()
    RelayMetrics(relay)
    relay.register(QueueMetrics(engine, 30.0))
    WorkerMetrics(worker, 1)
    worker.register(GpuMetrics([]))
    with open_memory(engine, recommender_settings.memory, apps[2]):
        yield [*apps, relay, worker]
    engine.dispose()


@pytest.fixture(scope="module")
def shown(registries: list[CollectorRegistry]) -> dict[str, set[str]]:
    """Name of each series → its labels."""
    series: dict[str, set[str]] = {}
    for registry in registries:
        for collector in registry._collector_to_names:
            for family in getattr(collector, "describe", collector.collect)():
                labels = {*getattr(collector, "_labelnames", ()), *getattr(family, "_labelnames", ())}
                match family.type:
                    case "counter":
                        series[f"{family.name}_total"] = labels
                    case "histogram":
                        series[f"{family.name}_bucket"] = {*labels, "le"}
                        series |= {f"{family.name}_{end}": labels for end in ("sum", "count")}
                    case _:
                        series[family.name] = labels
    return series | OF_PROMETHEUS


def test_what_is_asked_for_is_shown_by_some_process(shown: dict[str, set[str]]):
    for where, expression, legend in ASKED:
        names = re.findall(r"\b(?:octavo_\w+|process_\w+|up|ALERTS)\b", expression)
        assert names, where
        assert set(names) <= shown.keys(), where
        for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)\s*=~?", matchers)) <= shown[name] | OF_EVERY_TARGET, where
        known = set().union(*(shown[name] for name in names)) | OF_EVERY_TARGET
        grouped = set(re.findall(r"\w+", " ".join(re.findall(r"\b(?:by|on) \(([^)]+)\)", expression))))
        assert grouped <= known, where
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= (grouped or known), where


def test_the_rules_and_their_configuration_are_prometheus_s():
    assert "SUCCESS" in promtool("check", "config", str(ROOT / "docker/prometheus/prometheus.yml"))


def test_each_alert_fires_when_it_should():
    promtool("test", "rules", str(RULES_FILE.with_name("rules.test.yml")))
    groups = yaml.safe_load(RULES_FILE.with_name("rules.test.yml").read_text())["tests"]
    fired = {one["alertname"] for group in groups for one in group.get("alert_rule_test", ()) if one["exp_alerts"]}
    assert fired == {rule["alert"] for rule in RULES}


def test_each_alert_says_what_to_do():
    headings = re.findall(r"^### (\w+)$", (ROOT / "docs/observability.md").read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in RULES]
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/observability.md#{rule['alert'].lower()}"


def test_names_are_as_prometheus_advises(registries: list[CollectorRegistry]):
    for registry in registries:
        promtool("check", "metrics", said=generate_latest(registry).decode())
