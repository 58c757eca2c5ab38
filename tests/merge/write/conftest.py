"""What shows by which way rows went."""

from __future__ import annotations

import pytest

from farm_merge.merge.pages.join import GrowingFile
from farm_merge.merge.write import write


@pytest.fixture
def grafted(monkeypatch):
    """List what is grafted, as numbers of trees, also of little: nothing passes by copying rows."""
    monkeypatch.setattr(write, "_LITTLE_BYTES", 0)
    done = []
    honest = GrowingFile.add

    def add(self, branches):
        done.append(len(branches))
        honest(self, branches)

    monkeypatch.setattr(GrowingFile, "add", add)
    return done
