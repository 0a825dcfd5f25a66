"""A linear probe of a run on a labelled data set, a bag-of-words baseline, and plots of the best unit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretell.api.trained import Trained
from foretell.artifacts import write_json
from foretell.config import validate
from foretell.data.labelled.examples import Labelled
from foretell.data.labelled.opening import open_examples
from foretell.errors import ConfigError
from foretell.evaluate.features import Extractor, Vectors, offset
from foretell.evaluate.probing import GRID, Fitted, Portion, bag_of, bags, fit, learn_mix
from foretell.recipe.recipe import DataConfig
from foretell.run import Record
from foretell.tools.measure.probe_plots import Heat, draw
from foretell.tools.parsing import MIX
from foretell.tools.tables import Column, ResponsiveTable
from foretell.training.monitor import Monitor
from foretell.trees import parse_override

SPLITS = ("train", "valid", "test")
SHOWN_CLASSES, SHOWN_CHARACTERS = 4, 1200


@dataclass(frozen=True)
class LabelledTexts:
    """A split of a labelled data set: texts or pairs of texts, each of one class."""

    texts: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]

    @classmethod
    def read(cls, data: DataConfig, split: str) -> LabelledTexts:
        """Read a split. Raises `ConfigError` for examples that are not texts of one class each."""
        examples = open_examples(data.corpus, split, data.reader, data.skip_bad)
        texts, labels = [], []
        for example in examples:
            if not isinstance(example, Labelled) or not isinstance(example.label, str):
                raise ConfigError(
                    f"{example.where}: a probe classifies texts, and this example has no single class; "
                    "name a data set of texts or pairs with one label each"
                )
            texts.append(example.texts)
            labels.append(example.label)
        return cls(tuple(texts), tuple(labels))


def probe(
    run: Trained,
    data: DataConfig,
    out: Path,
    *,
    features: Mapping[str, Any],
    mixed: bool = False,
    grid: Sequence[float] = GRID,
    top: Sequence[int] = (1, 10),
    texts: Sequence[str] = (),
    seed: int = 0,
    quiet: bool = True,
) -> Record:
    """Fit, measure and plot; write everything into the folder `out`.

    `features`: settings of `FeaturesConfig`. `mixed`: learn a mix of the layers. `top`: numbers of heaviest units to
    probe alone. `texts`: texts for heat maps; none: the first test text of each class.
    """
    begin = time.perf_counter()
    sets = {split: LabelledTexts.read(data, split) for split in SPLITS}
    if len(set(sets["train"].labels)) < 2:
        raise ConfigError(f"{data.corpus}: its training split has one class only, so there is nothing to classify")
    extractor = run.extractor(**features)
    monitor = Monitor(quiet=quiet)
    portions = {
        split: Portion(vectors_of(extractor, part.texts, monitor, f"vectors of {split}"), labels_of(part))
        for split, part in sets.items()
    }
    mix: Record | None = None
    if mixed:
        mix, extractor, portions = mix_layers(run, extractor, features, portions)
    probed = fit(*portions.values(), grid=grid, seed=seed)
    tops = {}
    for most in top:
        units = probed.units(most)
        if units:
            tops[most] = (units, fit(*(part.columns(units) for part in portions.values()), grid=grid, seed=seed))
    words = bag_of_words(sets, grid, seed)
    record: Record = {
        "run": str(run.run.path),
        "on": data.corpus,
        "out": str(out),
        **figures(probed),
        "width": int(portions["train"].vectors.shape[1]),
        "units": len(probed.units()),
        "best_unit": next(iter(probed.units()), None),
        "top": [{"units": units, **figures(fitted)} for units, fitted in tops.values()],
        "bag_of_words": {
            **figures(words),
            "width": int(words.weights.shape[1]),
            "made_of": bag_of([" ".join(text) for text in sets["train"].texts]),
        },
        "majority": majority(sets),
        "examples": {split: len(part.texts) for split, part in sets.items()},
        "classes": list(probed.classes),
        "features": dict(features),
        "mix": mix,
        "seconds": time.perf_counter() - begin,
    }
    out.mkdir(parents=True, exist_ok=True)
    if mix is not None:
        write_json(out / MIX, mix)
    if record["best_unit"] is not None:
        try:
            record["pictures"] = pictures(extractor, record["best_unit"], sets, portions, texts, out, record)
        except ConfigError as problem:
            monitor.say(f"no plots: {problem}")
    write_json(out / "probe.json", record)
    return record


def vectors_of(extractor: Extractor, texts: Sequence[tuple[str, ...]], monitor: Monitor, name: str) -> Vectors:
    """[N, W] vectors of texts; for pairs |u - v| and u x v concatenated (Tai et al. 2015, arXiv:1503.00075)."""
    sides = [[text[side] for text in texts] for side in range(len(texts[0]) if texts else 1)]
    with monitor.activity(name) as activity:

        def on_progress(read: int) -> None:
            activity(read / (len(sides) * len(texts)))

        first, *second = (
            extractor.all(side, offset(on_progress, len(texts) * before)) for before, side in enumerate(sides)
        )
    if not second:
        return first
    return np.concatenate([np.abs(first - second[0]), first * second[0]], axis=1)


def labels_of(part: LabelledTexts) -> Any:
    """[N] labels"""
    return np.array(part.labels)


def mix_layers(
    run: Trained, extractor: Extractor, features: Mapping[str, Any], portions: Mapping[str, Portion]
) -> tuple[Record, Extractor, dict[str, Portion]]:
    """Learn a mix of the layers on the training split; return its weights, and extractor and portions that use them."""
    layers, width = len(extractor.layers), extractor.widths[0]
    if layers < 2 or len(set(extractor.widths)) > 1 or portions["train"].vectors.shape[1] != layers * width:
        raise ConfigError("--mix takes several layers of one width and single texts; add --layers all")
    learned = learn_mix(portions["train"].vectors.reshape(-1, layers, width), portions["train"].labels)
    weights = [float(weight) for weight in learned.weights.detach()]
    mixed = {
        split: Portion(np.einsum("nld,l->nd", part.vectors.reshape(-1, layers, width), weights), part.labels)
        for split, part in portions.items()
    }
    layer_numbers = [layer + 1 for layer in extractor.layers]
    record = {"layers": layer_numbers, "weights": weights}
    return record, run.extractor(**{**features, "layers": layer_numbers, "mix": weights}), mixed


def bag_of_words(sets: Mapping[str, LabelledTexts], grid: Sequence[float], seed: int) -> Fitted:
    """The baseline: binary bag of words, L2 penalty, same grid; pairs as in `vectors_of`."""
    sides = len(sets["train"].texts[0])
    flat = bags(
        [[text for side in range(sides) for text in (pair[side] for pair in part.texts)] for part in sets.values()]
    )
    if sides == 2:
        from scipy import sparse

        halves = [(bag[: bag.shape[0] // 2], bag[bag.shape[0] // 2 :]) for bag in flat]
        flat = [sparse.hstack([abs(one - other), one.multiply(other)]).tocsr() for one, other in halves]
    portions = [Portion(bag, labels_of(part)) for bag, part in zip(flat, sets.values(), strict=True)]
    return fit(*portions, grid=grid, penalty="l2", seed=seed)


def majority(sets: Mapping[str, LabelledTexts]) -> float:
    """Accuracy on the test split of always predicting the most frequent class of the training split."""
    ((name, _),) = Counter(sets["train"].labels).most_common(1)
    return sets["test"].labels.count(name) / len(sets["test"].labels)


def figures(fitted: Fitted) -> Record:
    """Figures of a fit."""
    return {
        "accuracy": fitted.test,
        "valid_accuracy": fitted.valid,
        "strength": fitted.strength,
        "at_end_of_grid": fitted.bound,
        "converged": fitted.converged,
    }


# --- plots ----------------------------------------------------------------------------------------


def pictures(
    extractor: Extractor,
    unit: int,
    sets: Mapping[str, LabelledTexts],
    portions: Mapping[str, Portion],
    texts: Sequence[str],
    out: Path,
    record: Record,
) -> list[str]:
    """Draw the histogram of the best unit by class on the test split, and heat maps; for pairs the histogram only."""
    test = portions["test"]
    values = {name: test.vectors[test.labels == name, unit] for name in record["classes"]}
    middle = float(portions["train"].vectors[:, unit].mean())
    single = len(sets["test"].texts[0]) == 1
    chosen = [("", text) for text in texts] or first_of_each(sets["test"])
    heats = [heat_of(extractor, unit, name, text) for name, text in chosen] if single else []
    return draw(values, heats, unit, middle, record, out)


def first_of_each(part: LabelledTexts) -> list[tuple[str, str]]:
    """The first text of each class that is not too long."""
    firsts: dict[str, str] = {}
    for (text, *_), label in zip(part.texts, part.labels, strict=True):
        if label not in firsts and len(text) <= SHOWN_CHARACTERS:
            firsts[label] = text
    return [(name, firsts[name]) for name in sorted(firsts)][:SHOWN_CLASSES]


def heat_of(extractor: Extractor, unit: int, name: str, text: str) -> Heat:
    """The value of a unit after each token; with several poolings concatenated, that of the pooled vectors."""
    pieces, values = extractor.trace(text)
    shown = [i for i, piece in enumerate(pieces) if piece]
    return Heat(name, [pieces[i] for i in shown], values[shown, unit % values.shape[1]].tolist())


# --- table ----------------------------------------------------------------------------------------


def render(record: Mapping[str, Any]) -> ResponsiveTable:
    """The scores as a table."""
    tests = record["examples"]["test"]
    on = record["on"] if isinstance(record["on"], str) else "files of your own"
    title = f"{record['run']} on {on}, {tests:,} test texts"
    table = ResponsiveTable(
        Column.names(), Column("test"), Column("valid", 2), Column("units", 3), Column("C", 4), title=title
    )

    def add(name: str, scores: Mapping[str, Any], units: Any) -> None:
        end = " (end of grid)" if scores["at_end_of_grid"] else ""
        accuracies = (f"{scores[key]:.2%}" for key in ("accuracy", "valid_accuracy"))
        table.add(name, *accuracies, f"{units:,}", f"{scores['strength']:.4g}{end}")

    add("all units", record, record["units"])
    for top in record["top"]:
        add(f"heaviest {len(top['units'])}", top, len(top["units"]))
    bag = record["bag_of_words"]
    add(f"bag of {bag['made_of']}", bag, bag["width"])
    table.add("most frequent class", f"{record['majority']:.2%}")
    if record["mix"] is not None:
        weights = ", ".join(f"{weight:.3f}" for weight in record["mix"]["weights"])
        table.notes.append(f"layers {', '.join(map(str, record['mix']['layers']))} mixed by {weights}")
    table.notes += record.get("pictures", [])
    return table


def read_data(on: str, reader: str | None, skip_bad: bool) -> DataConfig:
    """Parse `--on` and `--reader` as settings of a recipe."""
    tree: dict[str, Any] = {"corpus": parse_override(f"corpus={on}")["corpus"], "skip_bad": skip_bad}
    if reader is not None:
        tree["reader"] = parse_override(f"reader={reader}")["reader"]
    return validate(DataConfig, tree, "--on")
