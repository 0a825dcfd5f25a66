"""Examination of labelled data: balance, duplicates, contradictions, lengths, odd characters, and simple baselines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from foretell.data.batches.framing import Framing
from foretell.data.labelled.examples import Example, alike
from foretell.errors import ConfigError
from foretell.evaluate.probing import bag_of
from foretell.learning.task import TaskModule
from foretell.recipe.recipe import Recipe
from foretell.tools.baselines import baseline
from foretell.tools.look.diagnosis import ENOUGH, check, points
from foretell.tools.look.doctor_corpus import is_odd
from foretell.tools.look.labelled import LabelledData
from foretell.tools.look.language import hints
from foretell.trees import Tree
from foretell.units import counted

RARE = 10
"""training examples below which a label is rare"""
UNEVEN = 10
"""ratio of the most frequent to the rarest label above which weights may help"""
LABELS = 30
"""labels that are listed"""
LENGTH = 128
"""words, or characters where a language has no blanks between words, above which a text is long without a recipe"""
SAMPLED = 2000
"""training examples from which the language is taken"""
BEYOND_ASCII = re.compile(r"[^\x00-\x7f]{2,}")


def examine_labels(data: LabelledData) -> Tree:
    """Examine labelled files without a recipe; the length of texts is counted in words."""
    return examination(data, None)


def examine_task(recipe: Recipe) -> Tree:
    """Examine the labelled data of a recipe; the length of texts is counted in its tokens."""
    module = TaskModule(recipe)
    framing = module.framing if module.task.cuts_texts else None
    return examination(LabelledData(recipe.data, module.task), framing)


def examination(data: LabelledData, framing: Framing | None) -> Tree:
    """Facts and findings about labelled data."""
    splits, bad = data.splits()
    train = splits["train"]
    known = {key_of(example) for example in train}
    labels = label_counts(splits)
    result: Tree = {
        "what": "labelled data",
        "corpus": data.name,
        "labels": dict(islice(labels.items(), LABELS)),
        "label_count": len(labels),
        "splits": {},
        **language(train),
        "contradictions": contradictions([example for examples in splits.values() for example in examples]),
        "odd_characters": odd_characters(splits),
        "baseline": {},
    }
    if on := next((name for name in ("valid", "test") if name in splits), ""):
        result["baseline"] = baseline(train, splits[on], on)
    unit = bag_of([example.line for example in train])
    for name, examples in splits.items():
        keys = [key_of(example) for example in examples]
        facts: Tree = {"examples": len(examples), "empty": sum(example.is_empty for example in examples)}
        if name == "train":
            facts["repeated"] = {"examples": 1 - len(set(keys)) / max(len(keys), 1)}
        else:
            facts["also_in_train"] = {"examples": sum(key in known for key in keys) / max(len(keys), 1)}
        result["splits"][name] = facts | lengths(examples, framing, unit)
    refused, unusable = refusals(data, splits)
    unreadable = {"; the first: ".join([problem.what, *problem.details[:1]]): None for problem in bad}
    result |= {"refused": refused, "unusable": [*unreadable, *unusable]}
    return result | {"findings": findings(result, labels, data.skips_bad)}


def refusals(data: LabelledData, splits: Mapping[str, Sequence[Example]]) -> tuple[str, list[str]]:
    """Reason that training refuses the labels, or "", and reasons that it refuses examples."""
    try:
        data.task.check_type(splits["train"])
        labels = data.task.labels(splits["train"])
    except ConfigError as problem:
        return problem.what.removeprefix("data.corpus: "), []
    found = []
    for name, examples in splits.items():
        faults = [f"{e.where}: {fault}" for e in examples if (fault := data.task.example_fault(e, labels))]
        if faults:
            found.append(f"{name}: {len(faults):,} of {len(examples):,} cannot be used; the first: {faults[0]}")
    return "", found


def key_of(example: Example) -> str:
    """The text of an example, without differences in whitespace."""
    return " ".join(example.line.split())


def label_counts(splits: Mapping[str, Sequence[Example]]) -> Tree:
    """The number of examples of each label in each split, the most frequent labels of the training split first."""
    counts = {name: Counter(one for e in examples for one in e.label_names) for name, examples in splits.items()}
    order = sorted({one for split in counts.values() for one in split}, key=lambda one: (-counts["train"][one], one))
    return {label: {name: split[label] for name, split in counts.items()} for label in order}


def language(examples: Sequence[Example]) -> Tree:
    """The scripts and the language of the first texts."""
    texts = [text for example in examples[:SAMPLED] for text in example.all_texts]
    return hints(Counter(c for text in texts for c in text), Counter(word for text in texts for word in text.split()))


def contradictions(examples: Sequence[Example]) -> list[str]:
    """The places of examples with one text and different labels, a group for each text."""
    groups: dict[str, dict[object, str]] = {}
    for example in examples:
        groups.setdefault(key_of(example), {}).setdefault(example.gold, example.where)
    return [", ".join(places.values()) for places in groups.values() if len(places) > 1]


def lengths(examples: Sequence[Example], framing: Framing | None, unit: str) -> Tree:
    """Mean and largest length, and the share of examples that are cut, in tokens, or in words or characters."""
    texts = [example.all_texts for example in examples]
    if framing is None:
        sizes = np.array([sum(size_of(text, unit) for text in parts) for parts in texts])
        return {unit: spread(sizes), "too_long": {f"over_{LENGTH}_{unit}": float((sizes > LENGTH).mean())}}
    encoded = iter(framing.encode([text for parts in texts for text in parts]))
    sizes = np.array([sum(len(next(encoded)) for _ in parts) + framing.around(len(parts)) for parts in texts])
    return {
        "tokens": spread(sizes),
        "too_long": {f"cut_at_{framing.length}_tokens": float((sizes > framing.length).mean())},
    }


def size_of(text: str, unit: str) -> int:
    """The number of words of a text, or of its characters without blanks."""
    words = text.split()
    return len(words) if unit == "words" else sum(map(len, words))


def spread(sizes: Any) -> Tree:
    """Mean, median and largest of some sizes."""
    return {"mean": float(sizes.mean()), "median": float(np.median(sizes)), "largest": int(sizes.max())}


def odd_characters(splits: Mapping[str, Sequence[Example]]) -> Tree:
    """Characters that are probably errors, and text that was decoded with the wrong encoding, with their number."""
    found: Counter[str] = Counter()
    for examples in splits.values():
        for text in (text for example in examples for text in example.all_texts):
            found.update(f"U+{ord(c):04X}" for c in set(text) if is_odd(c))
            found.update(wrongly_decoded(text))
    return dict(found.most_common(20))


def wrongly_decoded(text: str) -> list[str]:
    """Parts of a text that are UTF-8 read as Windows-1252, such as Ã© for é."""
    return [part for part in BEYOND_ASCII.findall(text) if is_utf8(part)]


def is_utf8(part: str) -> bool:
    """Whether the bytes of these characters in Windows-1252 are UTF-8."""
    try:
        b"".join(bytes([ord(c)]) if ord(c) < 256 else c.encode("cp1252") for c in part).decode()
    except UnicodeError:
        return False
    return True


def findings(result: Mapping[str, Any], labels: Mapping[str, Mapping[str, int]], skips_bad: bool) -> list[Tree]:
    """Findings about labelled data; `labels` are the counts of all labels."""
    splits, odd = result["splits"], result["odd_characters"]
    in_train = [counts["train"] for counts in labels.values() if counts["train"]]
    ratio = max(in_train, default=1) / min(in_train, default=1)
    rare = [label for label, counts in labels.items() if 0 < counts["train"] < RARE]
    unseen = [label for label, counts in labels.items() if not counts["train"]]
    groups, same = result["contradictions"], list(alike(labels))
    level = "warning" if skips_bad else "error"
    found = [
        check(False, "rows", text, "fix them, or leave them out with --skip-bad", level) for text in result["unusable"]
    ]
    if result["refused"]:
        found.append(check(False, "labels", result["refused"], "name another column, or add other examples", "error"))
    rows = [
        (not unseen, "labels", f"not in train: {named(unseen)}", "add training examples of them, or remove them"),
        (
            not rare,
            "labels",
            f"fewer than {RARE} training examples: {named(rare)}",
            "collect more, or join labels",
        ),
        (
            ratio <= UNEVEN,
            "labels",
            f"the most frequent one occurs {ratio:,.1f} times as often as the rarest",
            "objective.class_weights=balanced, and objective.metric=macro_f1",
        ),
        (not same, "labels", f"differ little: {named(same)}", "spell them alike if they are one"),
        (
            not groups,
            "contradictions",
            f"{counted(len(groups), 'text')} with different labels{': ' if groups else ''}{'; '.join(groups[:3])}",
            "decide on one label for each",
        ),
        (
            not odd,
            "characters",
            f"odd characters: {named(list(odd))}",
            "check the encoding of the file: data.reader.encoding",
        ),
    ]
    found += [check(*row) for row in rows if labels or row[1] != "labels"]
    for name, facts in splits.items():
        found += [check(*row) for row in split_rows(name, facts)]
    return found


def split_rows(name: str, facts: Mapping[str, Any]) -> list[tuple[bool, str, str, str]]:
    """Findings about a split."""
    ((unit, share),) = facts["too_long"].items()
    rows = [
        (share < 0.1, name, f"{share:.1%} {unit.replace('_', ' ')}", "make data.batches.length larger"),
    ]
    if facts["empty"]:
        rows.append((False, name, f"{counted(facts['empty'], 'example')} with an empty text", "remove them"))
    if name == "train":
        repeated = facts["repeated"]["examples"]
        rows.append((repeated < 0.05, name, f"{repeated:.1%} of examples are duplicates", "remove duplicates"))
    else:
        shared = facts["also_in_train"]["examples"]
        text = f"{shared:.1%} of examples are in train too"
        rows.append((shared == 0, name, text, "scores are too good: remove them from train"))
        number = facts["examples"]
        text = f"{counted(number, 'example')}, so that accuracy is uncertain by {points(number)}"
        rows.append((number >= ENOUGH, name, text, "add examples, or measure with folds"))
    return rows


def named(items: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(items) - 5:,} more" if len(items) > 5 else ""
    return (", ".join(items[:5]) or "none") + more
