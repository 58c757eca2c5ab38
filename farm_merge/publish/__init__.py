"""Publish: a new file appears whole or not at all; an existing one grows by transactions.

Whatever this package writes for a user, it makes in a private workshop beside its place, and lets
it out by the one door: closed, synced, and never over something that it did not expect there.
"""

from farm_merge.publish.door import (
    new_folder,
    new_output,
    publish_new,
    replacing,
    require_empty,
    require_new,
    sync,
)
from farm_merge.publish.lock import locked
from farm_merge.publish.name import file_name
from farm_merge.publish.output import (
    HALF_WRITTEN,
    HALF_WRITTEN_REMEDY,
    building,
    existing_output,
    read_output,
    reading_output,
    require_experiment,
    require_usable,
    settle,
    settle_output,
    writing,
)
from farm_merge.publish.workshop import is_workshop, left_by_others, workshop

__all__ = [
    "HALF_WRITTEN",
    "HALF_WRITTEN_REMEDY",
    "building",
    "existing_output",
    "file_name",
    "is_workshop",
    "left_by_others",
    "locked",
    "new_folder",
    "new_output",
    "publish_new",
    "read_output",
    "reading_output",
    "replacing",
    "require_empty",
    "require_experiment",
    "require_new",
    "require_usable",
    "settle",
    "settle_output",
    "sync",
    "workshop",
    "writing",
]
