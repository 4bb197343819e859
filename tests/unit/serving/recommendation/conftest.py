"""A loaded recommender of twelve items."""

from pathlib import Path

import pytest

from libs.serving.recommendation.model import LoadedRecommender, load
from libs.serving.repository import RunSettings
from tests.support.recommenders import IDENTITY, make_recommender


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedRecommender:
    folder: Path = tmp_path_factory.mktemp("recommender")
    make_recommender(folder)
    return load(folder, IDENTITY, RunSettings())
