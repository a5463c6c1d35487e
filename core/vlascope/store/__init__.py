"""Activations on disk, with the moments and tokens they belong to."""

from vlascope.store.rows import Rows, Where
from vlascope.store.schema import COLUMNS, Provenance, UnitManifest
from vlascope.store.store import ActivationStore
from vlascope.store.unit import Entry

__all__ = ["COLUMNS", "ActivationStore", "Entry", "Provenance", "Rows", "UnitManifest", "Where"]
