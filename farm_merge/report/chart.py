"""Chart: a drawing in Vega-Lite with its data, on a page and as a picture.

A chart has one drawing, and a panel for each of some labels, in which it shows the rows that have
this label. The page makes the panels itself, so that they follow its width.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd

__all__ = ["COLOURS", "IS_SHOWN", "Chart", "capital", "counted", "draw_pictures", "named",
           "on_page", "scale_of", "slug"]  # fmt: skip

COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#eeca3b", "#ff9da6",
           "#9d755d", "#8c8c8c", "#2f8fdd", "#a0cb3a")  # fmt: skip

IS_SHOWN = "indexof(hidden, datum.set) < 0"
"""What keeps rows of a set whose checkbox is not checked out of a drawing."""

_PICTURE_WIDTH = 720
_MOST_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, and what it shows in words.

    Attributes:
        name: Of its picture, and its id on the page.
        section: Of the page.
        title: Above it.
        caption: Below it: what is drawn, of how many runs.
        drawing: An Altair chart, whose data are named.
        data: Its data, by name. A cell may hold a list; such cells of a row are of one length.
        panels: The labels of its panels, in order.
        height: Of a panel, in pixels.
        is_small: Whether several fit side by side.
    """

    name: str
    section: str
    title: str
    caption: str
    drawing: Any
    data: dict[str, pd.DataFrame]
    panels: Sequence[str] = ("",)
    height: int = 300
    is_small: bool = False


def on_page(chart: Chart) -> dict[str, Any]:
    """Return what the page draws: the drawing, its panels, and its data as columns and rows."""
    data = {
        name: {"columns": list(map(str, rows)), "rows": _plain(rows)}
        for name, rows in chart.data.items()
    }
    return {
        "title": chart.title,
        "caption": chart.caption,
        "panels": list(chart.panels),
        "spec": _spec(chart),
        "data": data,
    }


def draw_pictures(charts: Iterable[Chart]) -> Iterator[tuple[str, bytes]]:
    """Yield the names and the bytes of files that show charts: SVG, PNG, and the data as CSV."""
    import vl_convert

    for chart in charts:
        made = _picture(chart)
        yield f"{chart.name}.svg", vl_convert.vegalite_to_svg(made).encode()
        yield f"{chart.name}.png", vl_convert.vegalite_to_png(made, scale=2)
        for name, rows in chart.data.items():
            if rows.empty:
                continue
            lists = [
                column
                for column in rows
                if rows[column].map(lambda cell: isinstance(cell, list)).any()
            ]
            flat = rows.explode(lists) if lists else rows
            yield f"{chart.name}.{name}.csv", flat.to_csv(index=False).encode()


def slug(name: str) -> str:
    """Return a name as it can be one in a path and on a page."""
    return "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in name)


def capital(title: str) -> str:
    """Return a title with a capital letter in front, where that is not the name of a table."""
    return title if "." in title.partition(" ")[0] else title[:1].upper() + title[1:]


def named(name: str) -> Any:
    """Return an Altair chart of a chart's data of that name."""
    import altair as alt

    return alt.Chart(alt.NamedData(name))


def scale_of(*columns: pd.Series[Any]) -> Any:
    """Return a scale that all values fit, in all panels; not below 0, where none is."""
    import altair as alt
    import pandas as pd

    values = pd.concat([column.dropna() for column in columns])
    low, high = float(values.min()), float(values.max())
    margin = (high - low or abs(high) or 1) * 0.05
    bottom = low - margin
    return alt.Scale(domain=[max(bottom, 0.0) if low >= 0 else bottom, high + margin], nice=True)


def counted(numbers: pd.Series[Any]) -> str:
    """Return how many runs of each set something shows, in words."""
    least, most = int(numbers.min()), int(numbers.max())
    if least != most:
        return f"n = {least:,} to {most:,} runs of a set"
    return f"n = {least:,} run{'s' * (least != 1)} of each set"


def _spec(chart: Chart) -> dict[str, Any]:
    made: dict[str, Any] = chart.drawing.to_dict()
    for name in ("$schema", "config", "datasets"):
        made.pop(name, None)
    made["height"] = chart.height
    return made


def _picture(chart: Chart) -> dict[str, Any]:
    """Return a chart with its legend, its panels side by side, on white."""
    columns = min(len(chart.panels), _MOST_COLUMNS)
    panels = []
    for label in chart.panels:
        spec = json.loads(json.dumps(_spec(chart)))
        for layer in spec.get("layer", [spec]):
            is_here = {"filter": {"field": "panel", "equal": label}}
            layer["transform"] = [is_here, *layer.get("transform", [])]
        panels.append({**spec, "title": label, "width": _PICTURE_WIDTH // columns})
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "title": {"text": chart.title, "subtitle": chart.caption, "anchor": "start"},
        "background": "white",
        "params": [{"name": "hidden", "value": []}, {"name": "single_runs", "value": False}],
        "datasets": {
            name: [dict(zip(rows, row, strict=True)) for row in _plain(rows)]
            for name, rows in chart.data.items()
        },
        "concat": panels,
        "columns": columns,
    }


def _plain(rows: pd.DataFrame) -> list[list[Any]]:
    """Return rows as JSON has them; six digits are more than a screen shows."""
    shorter: list[list[Any]] = [list(map(_shortened, row)) for row in rows.values.tolist()]
    return shorter


def _shortened(value: Any) -> Any:
    if isinstance(value, list):
        return list(map(_shortened, value))
    if not isinstance(value, float):
        return value
    if value != value:  # noqa: PLR0124  (it is no number)
        return None
    return int(value) if value.is_integer() else float(f"{value:.6g}")
