"""Comparison of runs of a task on the same examples: their metrics, and the significance of differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from foretell import units
from foretell.api.mixed import Mixed
from foretell.api.trained import Trained
from foretell.errors import ConfigError
from foretell.evaluate.bootstrap import Floats, bootstrap, too_few
from foretell.evaluate.measures import measure_of, qualities
from foretell.evaluate.metric_sums import Tally
from foretell.learning.task import task_of
from foretell.run import Record
from foretell.tools.printing import BEHIND, behind_the_best, columns_explained, without_common_folder
from foretell.tools.tables import Column, ResponsiveTable


def compare_tasks(models: Sequence[Trained | Mixed], split: str, *, resamples: int = 4000, seed: int = 0) -> Record:
    """Measure runs on a split of their data sets, or on a file, best first, and test every difference.

    The bootstrap resamples texts, each with all its examples: questions on one passage are not independent. For a rank
    correlation it keeps the ranks that examples have among all.

    Raises `ConfigError` if tasks, metrics or examples differ.
    """
    runs = [run for model in models for run in model.members if run.is_task]
    if language_model := next((model for model in models if not model.is_task), None):
        raise ConfigError(f"{runs[0].name} learns a task and {language_model.name} does not; name runs of one task")
    first = runs[0]
    evaluators = [run.task_evaluator() for run in runs]
    task, examples = task_of(first.settings), evaluators[0].data.examples(split)
    for run, evaluator in zip(runs[1:], evaluators[1:], strict=True):
        mine = task_of(run.settings)
        if (mine.kind_name(), mine.metric) != (task.kind_name(), task.metric):
            raise ConfigError(
                f"{first.run.path} is measured by {task.metric} of {task.kind_name()}, {run.run.path} by {mine.metric} "
                f"of {mine.kind_name()}, so their figures are not comparable"
            )
        if evaluator.data.examples(split) != examples:
            raise ConfigError(
                f"{first.run.path} and {run.run.path} have different examples as their {split} split, so their figures "
                "are not comparable; name one file for both with --split FILE"
            )
    scored: list[tuple[Record, Tally]] = []
    for run, evaluator in zip(runs, evaluators, strict=True):
        with run.progress("evaluating") as on_progress:
            measured, predictions = evaluator.evaluate_examples(split, examples, on_progress)
        record = run.record(split, evaluator, measured)
        scored.append((record, task_of(run.settings).tally(examples, predictions)))
    scored.sort(key=lambda pair: float(pair[0][task.metric]), reverse=True)
    texts = [example.main_text for example in examples]
    parts = [by_text(tally, texts) for _, tally in scored]

    def difference(a: int, b: int) -> Record:
        width, (first, second) = parts[a].shape[1], (scored[n][1].metric for n in (a, b))

        def of(sums: Floats) -> Floats:
            return np.round(
                first(sums[..., :width]) - second(sums[..., width:]), 12
            )  # equal ones must not differ by rounding

        return bootstrap(np.hstack([parts[a], parts[b]]), of, resamples=resamples, seed=seed).record()

    intervals: dict[tuple[int, int], Record] = {pair: difference(*pair) for pair in combinations(range(len(scored)), 2)}
    records = [record for record, _ in scored]
    return {
        "split": split,
        "task": task.kind_name(),
        "metric": task.metric,
        "examples": len(examples),
        "parts": len(parts[0]),
        "warning": too_few(len(parts[0])),
        "resamples": resamples,
        "runs": [record | {"to_best": intervals.get((0, n))} for n, record in enumerate(records)],
        "pairs": [
            {"better": records[a]["run"], "worse": records[b]["run"], **interval}
            for (a, b), interval in intervals.items()
        ],
    }


def by_text(tally: Tally, texts: Sequence[str]) -> Floats:
    """Sums over the examples of each text: [N, K] and N texts, U of them different -> [U, K]."""
    number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    sums = np.zeros((len(number), tally.parts.shape[1]))
    np.add.at(sums, [number[text] for text in texts], tally.parts)
    return sums


def render(result: Mapping[str, Any]) -> ResponsiveTable:
    """One row per run, best first; the metric of the task comes first."""
    first, metric = result["runs"][0], result["metric"]
    others = [name for name in qualities(first) if name != metric and not measure_of(name).is_loss]
    others = [name for name in others if all(isinstance(run.get(name), float) for run in result["runs"])]
    names, folder = without_common_folder([run["run"] for run in result["runs"]])
    title = f"{result['task']}, {result['split']}: {result['examples']:,} examples"
    table = ResponsiveTable(
        Column.names("run"),
        Column(measure_of(metric).label),
        *BEHIND,
        *(Column(measure_of(name).label, 5 + number) for number, name in enumerate(others)),
        Column("parameters", 2),
        title=title + f", runs in {folder}" * bool(folder),
    )
    for name, run in zip(names, result["runs"], strict=True):
        figures = (f"{run[name]:.4f}" for name in others)
        behind = behind_the_best(run["to_best"])
        table.add(name, f"{run[metric]:.4f}", *behind, *figures, units.count(run["parameters"]))
    table.notes = [
        columns_explained(result["resamples"], f"{result['parts']:,} texts")
        + " The variation between seeds is not included; seeds = 5 shows it.",
        *([result["warning"]] if result["warning"] else []),
    ]
    return table
