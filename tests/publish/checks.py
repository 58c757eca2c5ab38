"""What tests of publishing share."""

from __future__ import annotations


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def never(_):
    raise AssertionError


def fail_in(context, *made):
    """Make files in a context, or one at its path, and fail."""
    with context as path:
        for name in made:
            (path / name).touch()
        raise ZeroDivisionError


def enter(context):
    with context:
        raise AssertionError
