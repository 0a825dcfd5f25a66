"""Errors that a user can act on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""what steers a terminal, breaks a line, turns the direction of writing, or cannot be written as UTF-8"""


def printable(text: str, keep: str = "") -> str:
    """The text with its control characters spelled out, as `\\x1b`, except those to keep."""
    return CONTROL.sub(lambda found: found[0] if found[0] in keep else repr(found[0])[1:-1], text)


def fields(*values: str) -> str:
    """A line of values with tabs between them; a tab or a newline inside one is spelled out, as `\\t`."""
    return "\t".join(map(printable, values))


def advice(what: str, remedy: str) -> str:
    """A remedy as it follows a problem: after a question it is a sentence of its own."""
    if not what.endswith("?"):
        return f"; {remedy}"
    return f" {remedy[0].upper()}{remedy[1:]}" if remedy.partition(" ")[0].isalpha() else f" {remedy}"


class ConfigError(ValueError):
    """Wrong input by the user, in one line: where it is, what is wrong, and what to write instead.

    `what` alone may be the whole sentence. A reader of files names the `file`, the `line` (from 1; of a table, the
    row) and the `remedy` apart, and `str` joins them as `file:line: what; remedy`, or as `what? Remedy`. Where many
    lines of a file are wrong `details` lists them, each in a line of its own below.
    """

    def __init__(
        self,
        what: str,
        *,
        file: Path | str | None = None,
        line: int | None = None,
        remedy: str | None = None,
        details: Sequence[str] = (),
    ) -> None:
        place = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
        head = printable(f"{place}{what}{advice(what, remedy) if remedy else ''}")
        super().__init__("\n  ".join([head, *map(printable, details)]))
        self.what, self.file, self.line, self.remedy, self.details = what, file, line, remedy, tuple(details)

    def record(self) -> dict[str, Any]:
        """The parts as `--json` prints them; None for unknown ones."""
        file = None if self.file is None else str(self.file)
        return {"file": file, "line": self.line, "what": self.what, "remedy": self.remedy}


SYNONYMS = {
    **dict.fromkeys(("lr", "max_lr", "peak_lr"), "learning_rate"),
    **dict.fromkeys(("batch_size", "bs", "bsz", "per_device_train_batch_size"), "batch"),
    **dict.fromkeys(("seq_len", "seq_length", "bptt", "block_size", "max_length", "max_seq_length"), "length"),
    **dict.fromkeys(("dim", "d_model", "n_embd", "hidden_size", "hidden_dim", "nhid"), "hidden"),
    **dict.fromkeys(("emsize", "emb_dim", "embedding_size"), "embedding_dim"),
    **dict.fromkeys(("n_layer", "n_layers", "num_layers", "num_hidden_layers", "nlayers"), "layers"),
    **dict.fromkeys(("n_head", "n_heads", "nhead", "num_heads", "num_attention_heads"), "heads"),
    **dict.fromkeys(("ffn_dim", "d_ff", "intermediate_size"), "feed_forward"),
    **dict.fromkeys(("epochs", "steps", "max_steps", "max_epochs", "num_train_epochs", "time_limit"), "limit"),
    **dict.fromkeys(("vocab_size", "vocabulary"), "size"),
    **dict.fromkeys(("clip", "grad_clip", "max_grad_norm", "gradient_clip_val"), "gradient_clip"),
    **dict.fromkeys(("wd", "decay"), "weight_decay"),
    **dict.fromkeys(("gradient_accumulation", "gradient_accumulation_steps", "accumulate"), "micro_batches"),
    **dict.fromkeys(("amp", "dtype", "fp16", "bf16", "mixed_precision"), "precision"),
    **dict.fromkeys(("early_stopping", "early_stopping_patience"), "patience"),
    **dict.fromkeys(("warmup_steps", "num_warmup_steps", "warmup_ratio"), "warmup"),
    **dict.fromkeys(("eps", "adam_epsilon"), "epsilon"),
    **dict.fromkeys(("tie_weights", "tied_weights", "tie_word_embeddings"), "tied"),
    **dict.fromkeys(("dataset", "text", "data", "train_file"), "corpus"),
}
"""other names of settings, as people know them from other programs"""


SHOWN = 5
"""names that are suggested at once"""


def some_of(names: Iterable[str], command: str) -> str:
    """` (known: a, b)`; of more than five names the first ones, and the command that lists all."""
    names = list(names)
    more = f", …; `{command}` lists all {len(names)}" if len(names) > SHOWN else ""
    return f" (known: {', '.join(names[:SHOWN])}{more})"


def did_you_mean(word: str, known: Iterable[str], most: int = 1) -> str:
    """`; did you mean 'x'?`, with more than one `'x', 'y' or 'z'`; "" when no known word is close."""
    known = list(known)
    same = [other for other in known if other in (word.lower(), SYNONYMS.get(word.lower()))]
    if same:
        return f"; did you mean {same[0]!r}?"
    near = difflib.get_close_matches(word[:100], list(dict.fromkeys(known)), n=most, cutoff=0.55)
    *others, last = map(repr, near or [""])
    return f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?" if near else ""
