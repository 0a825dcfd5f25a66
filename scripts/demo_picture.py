#!/usr/bin/env python3
"""Draw docs/pictures/demo.svg from the demo's table in docs/results.md."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
PICTURE = DOCS / "pictures" / "demo.svg"
LABELS = {"xz": "xz -9", "awd": "AWD-LSTM", "ngram": "5-gram", "both": "both, mixed"}
NOTE = "at most 110 seconds of training on two cores, on the manual of Python"
WIDTH, LEFT, ROW, TOP = 720, 120, 40, 56
STYLE = """\
text { font: 15px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 } .note { fill: #57606a }
rect { fill: #90a4ae } .best { fill: #2e7d32 } .value { font-weight: 600 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .note { fill: #9da7b1 }
  rect { fill: #607d8b } .best { fill: #66bb6a } }"""


def rows() -> list[tuple[str, float]]:
    """Contenders of the demo with their bits per byte on test text, as the results page has them."""
    section = (DOCS / "results.md").read_text(encoding="utf-8").partition("### The demo\n")[2].partition("\n### ")[0]
    cells = re.findall(r"^\| `?(\w+)[^|]* \| (\d\.\d+) \|", section, re.MULTILINE)
    return [(LABELS[name], float(bits)) for name, bits in cells]


def picture() -> str:
    """Horizontal bars from zero, the best one highlighted."""
    bars, best = rows(), min(bits for _, bits in rows())
    scale = (WIDTH - LEFT - 80) / max(bits for _, bits in bars)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {TOP + ROW * len(bars) + 8}" width="{WIDTH}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="20">Bits per byte of held-out text (lower is better)</text>',
        f'<text class="note" x="{LEFT}" y="42">{NOTE}</text>',
    ]
    for i, (name, bits) in enumerate(bars):
        y, width = TOP + ROW * i, bits * scale
        mark = ' class="best"' if bits == best else ""
        lines += [
            f'<text x="{LEFT - 12}" y="{y + 22}" text-anchor="end">{name}</text>',
            f'<rect{mark} x="{LEFT}" y="{y + 4}" width="{width:.0f}" height="{ROW - 12}" rx="3"/>',
            f'<text class="value" x="{LEFT + width + 10:.0f}" y="{y + 22}">{bits:.3f}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
