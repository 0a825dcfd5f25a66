"""`score --words`: rows of a CSV file over all lines, alone or in sequence."""

import csv
import io
from pathlib import Path

import pytest
from predictors import trained

from foretell.tools.measure.words import csv_rows, surprisals


def test_rows_of_a_file(corpus: dict[str, str], tmp_path: Path) -> None:
    model, file = trained("ngram", corpus, tmp_path), tmp_path / "text.txt"
    file.write_text('the cat\n\n"sat," she\u2028 said\n')
    rows = list(csv.DictReader(io.StringIO("\n".join(csv_rows(surprisals(model, [file]))))))
    assert [row["word"] for row in rows] == ["the", "cat", '"sat,"', "she\u2028", "said"]
    text = file.read_text()
    assert [text[int(row["start"]) : int(row["end"])] for row in rows] == [row["word"] for row in rows]
    carried = list(surprisals(model, [file], "carried"))
    assert [word.bits for word in carried][:2] == pytest.approx([float(row["bits"]) for row in rows][:2], abs=1e-5)
    assert carried[2].bits != pytest.approx(float(rows[2]["bits"]), abs=1e-3)
