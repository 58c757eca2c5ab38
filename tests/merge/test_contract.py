"""The contract of a merge, for every way of writing."""

from __future__ import annotations

import pytest

from farm_merge.merge.write import write
from tests.merge.contract import ExistingOutputPromises, NewOutputPromises


class TestGraft(NewOutputPromises):
    """Pages of shards become pages of a new output."""

    engine = "graft"
    copies_pages = True


class TestPack(NewOutputPromises):
    """Rows of small shards are copied into shards, whose pages become pages of a new output."""

    engine = "auto"
    copies_pages = True

    @pytest.fixture(autouse=True)
    def _take_pages_of_little(self, monkeypatch):
        monkeypatch.setattr(write, "_LITTLE_BYTES", 0)


class TestAttach(NewOutputPromises):
    """Rows of shards are copied into a new output."""


class TestAppend(ExistingOutputPromises):
    """Rows of shards are added to an output."""

    engine = "auto"


class TestAppendPages(ExistingOutputPromises):
    """Pages of shards become pages of an output."""

    engine = "graft"
    copies_pages = True


class TestLegacyGraft(NewOutputPromises):
    """Older files are rewritten into shards, whose pages become pages of a new output."""

    engine = "graft"
    is_legacy = True
    copies_pages = True


class TestLegacyAttach(NewOutputPromises):
    """Older files are rewritten into shards, whose rows are copied into a new output."""

    is_legacy = True


class TestLegacyAppend(ExistingOutputPromises):
    """Older files are rewritten into shards, whose rows are added to an output."""

    engine = "auto"
    is_legacy = True


class TestLegacyAppendPages(ExistingOutputPromises):
    """Older files are rewritten into shards, whose pages become pages of an output."""

    engine = "graft"
    is_legacy = True
    copies_pages = True
