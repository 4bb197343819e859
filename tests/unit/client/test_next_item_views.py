"""Models that recommend, at the command line: how they are shown, and how one is told to ask them."""

import pytest

from libs.client.cli.follow import chosen
from libs.client.cli.output import in_order

BUNDLE = {
    "task": "next-item",
    "architecture": "hcrnn",
    "parameters": 1000,
    "items": 1678,
    "max_length": 30,
    "state": [{"name": "h"}],
    "explanations": [{"name": "drift"}, {"name": "theta"}],
    "item_features": [{"name": "genres", "type": "category"}],
}
VERSION = {
    "model": "films",
    "version": 2,
    "status": "ready",
    "method": "hcrnn",
    "size_bytes": 10,
    "bundle": BUNDLE,
    "metrics": {"test/ndcg@10": 0.25, "val/hr@5": 0.5, "baseline/item-knn/test/ndcg@10": 0.125},
}


def test_a_model_that_recommends_is_shown_by_its_items_and_its_baselines(octavo, gateway):
    gateway.answers["GET /v1/models/films/versions/2"] = VERSION
    shown = octavo("models", "show", "films@2")
    assert "  items        1,678, with genres (category)" in shown.lines
    assert "  history      the newest 30 events; a live session costs one step an event" in shown.lines
    assert "  can explain  drift, theta" in shown.lines
    table = [line.split() for line in shown.lines[-3:]]
    assert table == [["metric", "value", "item-knn"], ["test/ndcg@10", "0.25", "0.125"], ["val/hr@5", "0.5"]]


@pytest.mark.parametrize(
    ("task", "question"),
    [
        ("next-item", "octavo recommend films --items ITEM,ITEM"),
        ("image-classification", "octavo predict films PICTURE"),
    ],
)
def test_deploying_says_how_to_ask(octavo, gateway, task: str, question: str):
    served = {"name": "films", "model": "films", "task": task, "version": 2, "loaded_version": 2, "status": "ready"}
    gateway.answers |= {"POST /v1/deployments": served, "GET /v1/deployments/films": served}
    assert octavo("deploy", "films").lines == ["films is ready: films@2", f"Ask it: {question}"]


def test_the_figure_that_chooses_the_weights_is_followed():
    metrics = {"train/loss": 7.5, "train/next_item": 7.0, "train/lr": 0.1, "val/hr@5": 0.1, "val/ndcg@10": 0.2}
    assert chosen(metrics) == "train/loss 7.5  val/ndcg@10 0.2  train/lr 0.1  train/next_item 7"


def test_the_telling_metrics_come_first():
    names = ["val/ndcg@10", "test/coverage@10", "test/tail/ndcg@10", "test/hr@10", "other", "test/ndcg@10"]
    assert in_order(names) == [
        "test/ndcg@10", "test/hr@10", "test/coverage@10", "test/tail/ndcg@10", "val/ndcg@10", "other"
    ]  # fmt: skip
