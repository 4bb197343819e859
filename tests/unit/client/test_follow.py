"""Events as people see them, and how much time is left."""

import pytest

from libs.client.cli.follow import Estimate, PlainView, chosen, line_of, values_of
from libs.client.records import Event


def event(kind: str, **data: object) -> Event:
    return Event.of({"seq": 1, "kind": kind, "data": data, "at": None})


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (event("status", to="running", reason=None), "running"),
        (event("status", to="failed", reason="disk full"), "failed: disk full"),
        (event("log", level="info", message="hello [b]"), "hello [b]"),
        (event("log", level="warning", message="hot"), "warning: hot"),
        (
            event("log", level="info", message="terms", fields={"beta": 0.123456, "taps": ["a: 1x2x2", "b"], "n": 3}),
            "terms  beta=0.1235  taps=[a: 1x2x2, b]  n=3",
        ),
        (event("checkpoint", step=40), "checkpoint at step 40"),
        (event("model", name="cats", version=2, status="ready"), "model cats@2 is ready"),
        (
            event("model", name="cats", version=3, status="rejected", status_reason="parity"),
            "model cats@3 is rejected (parity)",
        ),
        (event("dataset", version=1, status="ready"), "dataset version 1 is ready"),
        (event("progress", fraction=0.5), ""),
    ],
)
def test_each_event_has_its_line(shown: Event, line: str):
    assert line_of(shown) == line


def test_metrics_are_numbers_and_the_telling_ones_come_first():
    found = values_of({"values": {"train/lr": {"step": 1, "value": 0.1}, "train/loss": {"step": 1, "value": "NaN"}}})
    assert found["train/lr"] == 0.1
    assert found["train/loss"] != found["train/loss"]
    metrics = {"fusion/a": 1.0, "val/accuracy": 0.91234, "x/nan": float("nan"), "train/loss": 0.5}
    assert chosen(metrics) == "train/loss 0.5  val/accuracy 0.9123  fusion/a 1"


def test_time_left_counts_from_the_first_progress_seen():
    estimate = Estimate()
    assert estimate.left(0.5, now=100.0) == ""
    assert estimate.left(0.6, now=110.0) == "0:40 left"
    assert estimate.left(0.61, now=4110.0) == "3:56:57 left"
    assert estimate.left(0.1, now=5000.0) == ""
    assert estimate.left(0.2, now=5010.0) == "1:20 left"


def test_plain_progress_is_a_line_every_tenth(capsys: pytest.CaptureFixture[str]):
    view = PlainView()
    for percent in range(101):
        view.show(event("progress", fraction=percent / 100, note=f"step {percent}"))
    lines = capsys.readouterr().out.splitlines()
    assert 10 <= len(lines) <= 12
    assert "step 0" in lines[0]
    assert "step 100" in lines[-1]
