"""Layout: which colour and which panel every parameter set is drawn in.

What is pooled in one line is runs of one parameter set, and of no other. A few sets have a colour
each. More of them have the colour of one parameter's value, in panels for the values of the others.
Where there are too many for that, as in designs that are drawn at random, each run is drawn alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = ["MOST_SETS", "Layout", "label", "lay_out"]

MOST_SETS = 8
"""More lines than that in one chart cannot be distinguished."""

_MOST_PANELS = 24


@dataclass(frozen=True, slots=True)
class Layout:
    """How the parameter sets of an experiment are told apart.

    Attributes:
        by: The parameters that make a set.
        colours: Those whose values have a colour each.
        panels: Those whose values have a panel each.
        is_single: Whether every run is drawn alone, since the sets are too many.
    """

    by: tuple[str, ...]
    colours: tuple[str, ...]
    panels: tuple[str, ...] = ()
    is_single: bool = False

    def keys(self, frame: pd.DataFrame) -> pd.Series[Any]:
        """Return what the colour of every run stands for."""
        return _labels(frame, () if self.is_single else self.colours)

    def panel(self, frame: pd.DataFrame, x: str = "") -> pd.Series[Any]:
        """Return the panel of every run, in a chart along which one parameter varies."""
        return _labels(frame, [name for name in self.panels if name != x], "")

    def line(self, frame: pd.DataFrame, x: str) -> pd.Series[Any]:
        """Return what is the same along a line of such a chart."""
        return _labels(frame, [name for name in self.by if name not in {x, *self.panels}], "")


def lay_out(frame: pd.DataFrame, by: Sequence[str]) -> Layout:
    """Return how parameter sets are told apart.

    Args:
        frame: The simulations, as `compare_simulations` returns them.
        by: The parameters that make a set.
    """
    by = tuple(by)
    if not by or _combinations(frame, by) <= MOST_SETS:
        return Layout(by, by)
    for colour in by:
        others = tuple(name for name in by if name != colour)
        panels = _combinations(frame, others) if others else 1
        if frame[colour].nunique() <= MOST_SETS and panels <= _MOST_PANELS:
            return Layout(by, (colour,), others)
    return Layout(by, by[:1], is_single=True)


def label(run: pd.Series[Any], names: Sequence[str], otherwise: str = "all runs") -> str:
    """Return the values that a run has of parameters, with their names."""
    pairs = (f"{name.removeprefix('parameters.')} {run[name]}" for name in names)
    return ", ".join(pairs) or otherwise


def _labels(
    frame: pd.DataFrame, names: Sequence[str], otherwise: str = "all runs"
) -> pd.Series[Any]:
    import pandas as pd

    labels = [label(run, names, otherwise) for _, run in frame.iterrows()]
    return pd.Series(labels, frame.index, dtype=object)


def _combinations(frame: pd.DataFrame, names: Sequence[str]) -> int:
    return len(frame[list(names)].astype(str).drop_duplicates())
