"""Figures that advice quotes from docs/results.md; a test looks each of them up there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure that was measured on other data."""

    text: str
    section: str
    """anchor of its heading in docs/results.md"""

    def __str__(self) -> str:
        return f"{self.text} (results.md#{self.section})"


DEMO_LSTM = Figure("on the manual of Python 2.047 bits/byte after 110 s, where the 5-gram had 2.013", "the-demo")
DEMO_MIXED = Figure("on the manual of Python 1.912 bits/byte, where the models alone had 2.013 and 2.047", "the-demo")
DEMO_MIXING = Figure("on the manual of Python 1.985 bits/byte, and 1.316 with --adaptive", "the-demo")
RACE_LSTM = Figure("on Wikipedia 2.060 bits/byte after 5 minutes, where the 5-gram had 1.642", "a-race")
NANOGPT = Figure("on Shakespeare 1.911 nats a character after 78.2 s", "a-whole-small-training")

STARTS = {"imported": "MiniLM", "transformer": "BERT-mini", "recurrent": "AWD-LSTM"}
"""the model that stands for each start of a fine-tuning"""
TRANSFER = {
    ("imported", "classification"): "accuracy 0.888 on SST-2 (bag of words 0.783), 0.972 on TREC (0.850)",
    ("imported", "similarity"): "Spearman's correlation 0.824 on STS-B",
    ("imported", "tagging"): "entity F1 0.865 on CoNLL-2003, 0.810 on NCBI-disease",
    ("imported", "answering"): "F1 0.648 on squadshifts",
    ("transformer", "classification"): "accuracy 0.797 on SST-2 (bag of words 0.783), 0.878 on TREC (0.850)",
    ("transformer", "similarity"): "Spearman's correlation 0.249 on STS-B",
    ("transformer", "tagging"): "entity F1 0.708 on CoNLL-2003, 0.748 on NCBI-disease",
    ("transformer", "answering"): "F1 0.126 on squadshifts",
    ("recurrent", "classification"): "accuracy 0.803 on SST-2 (bag of words 0.783), 0.908 on TREC (0.850)",
    ("recurrent", "similarity"): "Spearman's correlation 0.335 on STS-B",
    ("recurrent", "tagging"): "entity F1 0.702 on CoNLL-2003, 0.662 on NCBI-disease",
    ("recurrent", "answering"): "F1 0.126 on squadshifts",
}
"""their figures, by start and task"""


def transfer(start: str, task: str) -> Figure | None:
    """The figure of a fine-tuning for a task from such a start; None where none was measured."""
    if (start, task) not in TRANSFER:
        return None
    return Figure(f"{STARTS[start]} had {TRANSFER[start, task]}", "what-pre-training-is-worth")
