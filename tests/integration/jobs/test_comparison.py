"""A comparison of recommenders, from its request over trainings by real workers to its report."""

import io
from collections.abc import Iterator
from uuid import UUID

import numpy as np
import pytest
from starlette.testclient import TestClient

from libs.data.manifest import read_manifest
from tests.support.events import events_folder, walks
from tests.support.gateway import gateway_of
from tests.support.platform import Platform, add_ready

pytestmark = pytest.mark.timeout(900)  # real trainings, on machines that may be busy

TINY = {"epochs": 1, "lr": 0.03, "max_length": 4, "batch_size": 16, "exclude_seen": False}
KNOWN = "bpr-mf (registered)"


@pytest.fixture
def gateway(octavo: Platform) -> Iterator[TestClient]:
    """The platform with a relay, a worker, and a data set `walks`."""
    folder = events_folder(octavo.home / "made-walks", walks(users=40, items=8))
    add_ready(octavo, "walks", folder, read_manifest(folder))
    octavo.start_relay()
    octavo.start_worker()
    with gateway_of(octavo) as client:
        yield client


def submit(gateway: TestClient, **body: object) -> UUID:
    answer = gateway.post("/v1/jobs", json={"datasets": {"train": "walks"}, **body})
    assert answer.status_code == 202, answer.text
    return UUID(answer.json()["id"])


def test_runs_are_trained_and_set_side_by_side_with_a_registered_model(octavo: Platform, gateway: TestClient):
    known = submit(gateway, method="bpr-mf", name="known", config={**TINY, "epochs": 3})
    before = octavo.wait_for(known, "succeeded").result["metrics"]
    compared = submit(
        gateway,
        method="gru4rec",
        name="trial",
        models={"bpr-mf": "known"},
        config={**TINY, "width": 8},
        compare={"seeds": [3, 5], "baselines": ["bpr-mf"]},
    )
    result = octavo.wait_for(compared, "succeeded").result
    children = gateway.get(f"/v1/jobs/{compared}").json()["children"]
    runs = {child["role"].removeprefix("runs/"): octavo.job(UUID(child["id"])) for child in children}
    assert runs.keys() == {"gru4rec/3", "bpr-mf/3", "gru4rec/5", "bpr-mf/5"}
    assert all(run.spec["models"] == {} for run in runs.values())
    assert not [name for run in runs.values() for name in run.result["metrics"] if name.startswith("baseline/bpr-mf")]
    metrics, details = result["metrics"], result["details"]
    for arm in ("gru4rec", "bpr-mf"):
        assert f"trial-{arm}" == runs[f"{arm}/3"].result["model"]["name"]
        mean = np.mean([runs[f"{arm}/{seed}"].result["metrics"]["test/ndcg@10"] for seed in (3, 5)])
        assert metrics[f"{arm}/ndcg@10"] == pytest.approx(mean, abs=1e-6)
    assert metrics[f"{KNOWN}/ndcg@10"] == pytest.approx(before["test/ndcg@10"], abs=1e-9)
    assert metrics["popularity/ndcg@10"] == pytest.approx(before["baseline/popularity/test/ndcg@10"], abs=1e-9)
    assert (details["arms"], details["beside_names"]) == (["gru4rec", "bpr-mf"], ["popularity", "item-knn", KNOWN])
    assert details["registered"][KNOWN]["same_data"] is True
    assert (details["split"], len(details["verdicts"])) == ("test", 4)

    kept = {one["name"]: one["id"] for one in gateway.get(f"/v1/jobs/{compared}/artifacts").json()["items"]}
    ranks = gateway.get(f"/v1/jobs/{compared}/artifacts/{kept['ranks.npz']}").content
    with np.load(io.BytesIO(ranks), allow_pickle=False) as stored:
        assert stored["runs"].tolist() == [*runs_in_order(), "popularity", "item-knn", KNOWN]
        assert stored["ranks"].shape == (7, details["held_out_events"])
    page = gateway.get(f"/v1/jobs/{compared}/report").text
    assert all(words in page for words in ("Every seed", "Size and speed", details["registered"][KNOWN]["note"]))


def runs_in_order() -> list[str]:
    """Seed by seed."""
    return [f"{arm}/{seed}" for seed in (3, 5) for arm in ("gru4rec", "bpr-mf")]
