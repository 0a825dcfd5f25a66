#!/usr/bin/env python3
"""Draw docs/pictures/demo.svg from the demo's table in docs/results.md."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
PICTURE = DOCS / "pictures" / "demo.svg"
LABELS = {
    "awd": "AWD-LSTM",
    "ngram": "5-gram",
    "both": "both, mixed",
    "context": "context mixing",
    "xz": "xz -9",
    "PPMd": "PPMd",
    "zpaq": "zpaq -m5",
}
NOTE = "of the manual of Python; blue: learns from it while it reads, as compressors do"
WIDTH, LEFT, ROW, TOP = 720, 140, 40, 56
STYLE = """\
text { font: 15px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 } .note { fill: #57606a }
rect { fill: #90a4ae } .adaptive { fill: #1976d2 } .value { font-weight: 600 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .note { fill: #9da7b1 }
  rect { fill: #607d8b } .adaptive { fill: #64b5f6 } }"""


def rows() -> list[tuple[str, float, bool]]:
    """Contenders of the demo, bits per byte on test text and whether they learn from it, the best last."""
    section = (DOCS / "results.md").read_text(encoding="utf-8").partition("### The demo\n")[2].partition("\n### ")[0]
    cells = re.findall(r"^\| `?(\w+)[^|]* \| (\d\.\d+)? ?\| (\d\.\d+)? ?\|", section, re.MULTILINE)
    found = [(LABELS[name], float(bits), kind > 0) for name, *both in cells for kind, bits in enumerate(both) if bits]
    return sorted(found, key=lambda row: -row[1])


def picture() -> str:
    """Horizontal bars from zero, static and adaptive figures in two colours."""
    bars = rows()
    scale = (WIDTH - LEFT - 80) / max(bits for _, bits, _ in bars)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {TOP + ROW * len(bars) + 8}" width="{WIDTH}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{LEFT}" y="20">Bits per byte of held-out text (lower is better)</text>',
        f'<text class="note" x="{LEFT}" y="42">{NOTE}</text>',
    ]
    for i, (name, bits, adaptive) in enumerate(bars):
        y, width = TOP + ROW * i, bits * scale
        mark = ' class="adaptive"' if adaptive else ""
        lines += [
            f'<text x="{LEFT - 12}" y="{y + 22}" text-anchor="end">{name}</text>',
            f'<rect{mark} x="{LEFT}" y="{y + 4}" width="{width:.0f}" height="{ROW - 12}" rx="3"/>',
            f'<text class="value" x="{LEFT + width + 10:.0f}" y="{y + 22}">{bits:.3f}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
