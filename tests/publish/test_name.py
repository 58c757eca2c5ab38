"""Whatever a thing is called, its file is one in its folder."""

from __future__ import annotations

from farm_merge.publish import file_name


def test_the_name_of_a_file_is_a_name_in_its_folder():
    names = ["..", ".", "../x", "a/b", "a b", "x" * 300, "x" * 301, "ä" * 90, ".hidden", "%2E"]
    encoded = [file_name(name) for name in names]
    assert len(set(encoded)) == len(names)
    for name in encoded:
        assert "/" not in name
        assert name not in {".", ".."}
        assert len(name) <= 200
    assert file_name("a b") == "a b"
