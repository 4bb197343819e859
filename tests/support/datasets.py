"""Data sets in a registry without files behind them."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from libs.data.manifest import EventCounts, EventsManifest, EventSplit, ImagesManifest, Manifest, SplitCounts
from libs.database.tables import DEFAULT_PROJECT_ID
from libs.registry import datasets
from libs.registry.artifacts import StoredFolder

MANIFEST = ImagesManifest(
    storage="arrays",
    classes=["cat", "dog"],
    splits={"train": SplitCounts(pictures=6, by_class=[3, 3]), "val": SplitCounts(pictures=2, by_class=[1, 1])},
    channels=1,
    height=8,
    width=8,
    uniform_size=True,
    mean=[0.5],
    std=[0.25],
    digest="0" * 64,
    size_bytes=512,
)

EVENTS_MANIFEST = EventsManifest(
    users=3,
    items=4,
    events=12,
    types={},
    first_time=datetime(2026, 1, 1, tzinfo=UTC),
    last_time=datetime(2026, 1, 2, tzinfo=UTC),
    split=EventSplit(protocol="leave-last-out"),
    splits={name: EventCounts(events=4, users=3) for name in ("train", "val", "test")},
    item_features=[],
    digest="1" * 64,
    size_bytes=512,
)


def add_dataset(
    session: Session, name: str, project_id: UUID = DEFAULT_PROJECT_ID, manifest: Manifest = MANIFEST
) -> str:
    """One more ready version of a data set; its digest."""
    version = datasets.create_version(session, project_id, name, {"upload": "pictures.zip"})
    datasets.mark_uploaded(session, version.id, "file:///store/uploads/pictures.zip", 512, uuid4())
    digest = uuid4().hex * 2
    folder = StoredFolder(f"file:///store/folders/{digest}", digest, 512, {"manifest.json": digest})
    datasets.mark_ready(session, version.id, folder, manifest, {"problems": []})
    return digest
