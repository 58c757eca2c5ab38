"""Tests in processes of their own: what leaves threads behind, beside which a merge cannot fork."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import wraps
from importlib import import_module
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Test = Callable[..., None]


def in_its_own(test: Test) -> Test:
    """Run a test, with what its fixtures made, in a process of its own."""

    @wraps(test)
    def run(**made: Any) -> None:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(_run, test.__module__, test.__name__, made).result()

    return run


def _run(module: str, name: str, made: dict[str, Any]) -> None:
    getattr(import_module(module), name).__wrapped__(**made)
