"""Drawing cost against growth as an SVG file, without any library."""

import math
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 118, 40, 48
COLOURS = {"miniagents": "#0b7285", "0.0.24": "#e8590c", "0.0.35": "#c92a2a", "async generators": "#adb5bd"}
OTHER_COLOUR = "#495057"


def draw(pictures: Sequence[dict[str, Any]], caption: str) -> str:
    """Give one SVG with all pictures, two in a row; both axes are logarithmic."""
    rows = (len(pictures) + 1) // 2
    width, height = 2 * WIDTH, rows * HEIGHT + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(8, height - 8, caption, colour="#868e96"),
    ]
    for index, picture in enumerate(pictures):
        parts.append(f'<g transform="translate({index % 2 * WIDTH},{index // 2 * HEIGHT})">')
        parts += _picture(picture)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _picture(picture: dict[str, Any]) -> list[str]:
    points = [point for line in picture["lines"].values() for point in line]
    sizes, costs = [point[0] for point in points], [point[1] for point in points]
    x = _Scale(min(sizes), max(sizes), LEFT, WIDTH - RIGHT)
    y = _Scale(10 ** math.floor(math.log10(min(costs))), 10 ** math.ceil(math.log10(max(costs))), HEIGHT - BOTTOM, TOP)
    parts = [_text(LEFT, 22, picture["title"], size=13), _text(LEFT, HEIGHT - 12, picture["axis"], colour="#495057")]
    for tick in y.decades():
        parts.append(_line(LEFT, y(tick), WIDTH - RIGHT, y(tick), "#e9ecef"))
        parts.append(_text(LEFT - 6, y(tick) + 4, f"{tick:,g}", anchor="end"))
    for size in sorted(set(sizes)):
        parts.append(_line(x(size), HEIGHT - BOTTOM, x(size), HEIGHT - BOTTOM + 4, "#868e96"))
        parts.append(_text(x(size), HEIGHT - BOTTOM + 16, f"{size:,}", anchor="middle"))
    labels: list[float] = []
    ends = sorted(picture["lines"].items(), key=lambda item: -item[1][-1][1])
    for name, line in ends:
        colour = COLOURS.get(name, OTHER_COLOUR)
        path = " ".join(f"{x(size):.1f},{y(cost):.1f}" for size, cost in line)
        thickness = 2.5 if name == "miniagents" else 1.5
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{thickness}"/>')
        parts += [f'<circle cx="{x(size):.1f}" cy="{y(cost):.1f}" r="2.5" fill="{colour}"/>' for size, cost in line]
        # Labels from above to below, at least a line apart.
        place = max(y(line[-1][1]) + 4, labels[-1] + 13 if labels else 0)
        labels.append(place)
        label = f"{name} {line[-1][1]:,.3g}"
        parts.append(_text(WIDTH - RIGHT + 6, place, label, colour=colour))
    return parts


class _Scale:
    """A logarithmic axis: gives the place of a value."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._high = math.log10(low), math.log10(max(high, low * 1.01))
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        part = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + part * (self._end - self._start)

    def decades(self) -> list[float]:
        return [10.0**power for power in range(round(self._low), round(self._high) + 1)]


def _text(x: float, y: float, text: str, *, size: int = 11, anchor: str = "start", colour: str = "#212529") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'
