"""Bar charts as SVG, written as plain text: they show on the light and the dark side of a page."""

from xml.sax.saxutils import escape

WIDTH = 760
NAME_WIDTH = 230
VALUE_WIDTH = 110
BAR = 22
GAP = 8
TOP = 34
OURS = "#d9480f"
THEIRS = "#5c7cfa"
TEXT = "#868e96"


def bars(title, unit, rows):
    """Returns a chart of `rows`: name, value, text of the value, and whether it is ours. Zero is at the left edge of the bars."""
    height = TOP + len(rows) * (BAR + GAP) + GAP
    most = max((value for _, value, _, _ in rows), default=0) or 1
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" font-family="sans-serif" font-size="13" fill="{TEXT}">',
        f"<title>{escape(title)}, {escape(unit)}</title>",
        f'<text x="0" y="18" font-size="15" font-weight="bold">{escape(title)}</text>',
        f'<text x="{WIDTH}" y="18" text-anchor="end">{escape(unit)}</text>',
    ]
    for number, row in enumerate(rows):
        parts += _bar(TOP + number * (BAR + GAP), most, *row)
    return "\n".join([*parts, "</svg>", ""])


def _bar(top, most, name, value, text, ours):
    # A bar that is too short to be seen is a line.
    width = max(value / most * (WIDTH - NAME_WIDTH - VALUE_WIDTH), 1)
    middle = top + BAR / 2 + 5
    return [
        f'<text x="{NAME_WIDTH - 10}" y="{middle:.0f}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{NAME_WIDTH}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{OURS if ours else THEIRS}"/>',
        f'<text x="{NAME_WIDTH + width + 8:.1f}" y="{middle:.0f}">{escape(text)}</text>',
    ]
