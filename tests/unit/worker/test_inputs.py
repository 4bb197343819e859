"""What an attempt reads, made ready on its machine."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from libs.data.write import write_arrays_dataset
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.registry.artifacts import ArtifactStore
from libs.registry.cache import FolderCache
from libs.registry.datasets import create_version, mark_ready, mark_uploaded
from services.worker.attempt_folder import AttemptFolder
from services.worker.devices import NoLongerWanted
from services.worker.inputs import InputStore
from services.worker.patience import Patience
from tests.support.specs import claimed


def test_a_data_set_is_fetched_unless_the_job_is_told_to_stop(engine: Engine, db: Session, tmp_path: Path) -> None:
    store = ArtifactStore((tmp_path / "store").as_uri())
    manifest = write_arrays_dataset(
        tmp_path / "made", np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 0, 1], np.int64), ["a", "b"]
    )
    stored = store.put_folder(tmp_path / "made")
    version = create_version(db, DEFAULT_PROJECT_ID, "digits", {"upload": "digits.npz"})
    mark_uploaded(db, version.id, "file:///upload", 1, uuid4())
    mark_ready(db, version.id, stored, manifest, {})
    db.commit()
    job = claimed(db, datasets={"train": "digits"})
    cache = FolderCache(tmp_path / "cache", store)
    inputs, folder = InputStore(engine, store, cache), AttemptFolder(tmp_path / "attempts" / str(job.id) / "1")
    folder.make()
    unwanted = True
    patience = Patience(0.0, lambda: unwanted, lambda _: None, lambda _: None)
    with pytest.raises(NoLongerWanted), inputs.prepared(job, folder, patience):
        pass
    assert not cache.holds(stored.digest)
    unwanted = False
    with inputs.prepared(job, folder, patience) as ready:
        assert ready.dataset_digests == {"train": stored.digest}
        assert (ready.datasets["train"] / "manifest.json").is_file()
    folder.remove()
