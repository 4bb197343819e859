"""Public data sets: fetched from their official address or a mirror, checked, and converted to an npz to upload."""

from libs.data.public.catalog import CATALOG, PublicDataset, public_dataset
from libs.data.public.pull import fetch_public, public_cache, pull

__all__ = ["CATALOG", "PublicDataset", "fetch_public", "public_cache", "public_dataset", "pull"]
