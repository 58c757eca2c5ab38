"""Names and seeds: what identifies a run, made of its parameters."""

from __future__ import annotations

import json
from collections import defaultdict
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["LONGEST_ID", "Value", "abbreviations", "digest_number", "run_id", "run_seed"]

Value = bool | int | float | str

LONGEST_ID = 64
_SEED_BITS = 53  # what a float, and so any reader of JSON, holds exactly


def abbreviations(names: Iterable[str]) -> dict[str, str]:
    """Return a short form of every name: initials (learning_rate: lr) or the first letters."""
    by_short = defaultdict(list)
    for name in names:
        words = name.split("_")
        by_short[name[:3] if len(words) == 1 else "".join(word[:1] for word in words)].append(name)
    return {
        name: short if len(same) == 1 else name for short, same in by_short.items() for name in same
    }


def run_id(short: Mapping[str, str], point: Mapping[str, Value], repetition: int) -> str:
    """Return the simulation_id of a run, which is the name of its file too.

    Args:
        short: The short forms of the parameters.
        point: The parameter set.
        repetition: Counted from 1.
    """
    parts = [f"{short[name]}{value}" for name, value in point.items()]
    readable = "_".join([*parts, f"r{repetition}"])
    safe = "".join(
        character if character.isalnum() or character in "._+-" else "-" for character in readable
    )
    if safe == readable and len(safe) <= LONGEST_ID:
        return safe
    return f"{safe[: LONGEST_ID - 17]}-{_digest(readable, 8).hex()}"


def run_seed(root: int, point: Mapping[str, Value], repetition: int) -> int:
    """Return the seed of a run: the root's child whose spawn key is the parameter set's digest."""
    text = json.dumps([point, repetition], sort_keys=True)
    key = np.frombuffer(_digest(text, 16), dtype="<u4")
    sequence = np.random.SeedSequence(root, spawn_key=tuple(int(word) for word in key))
    return int(sequence.generate_state(1, np.uint64)[0]) >> (64 - _SEED_BITS)


def digest_number(text: str) -> int:
    """Return 64 bits of a digest of a text."""
    return int.from_bytes(_digest(text, 8), "little")


def _digest(text: str, size: int) -> bytes:
    return blake2b(text.encode(), digest_size=size).digest()
