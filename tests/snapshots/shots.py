"""Every table at three widths, as text files: compare them with what is drawn now, or write them again.

PYTHONPATH=.:tests .venv/bin/python -m snapshots.shots    writes the files; look at the difference before you keep it
"""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console, Group, RenderableType
from snapshots import records

from foretell.bench import bench
from foretell.tools import printing
from foretell.tools.look import diagnosis, plan, recipes, runs, show, trace
from foretell.tools.measure import analysis, compare, probe, race
from foretell.tools.train import demo, lr_finder, transfer, trials

FOLDER = Path(__file__).with_name("text")
WIDTHS = (60, 80, 120)

TABLES: dict[str, Callable[[], RenderableType]] = {
    "runs": lambda: runs.render(records.runs()),
    "runs-tasks": lambda: runs.render(records.runs_of_tasks()),
    "show-recipes": lambda: show.render(recipes.list_recipes()),
    "show-recipes-for": lambda: show.render(records.timed(recipes.list_recipes())),
    "show-recipe": lambda: show.render(records.show_recipe()),
    "show-run": lambda: show.render(records.show_run()),
    "show-kind": lambda: show.render(show.describe("adamw")),
    "show-section": lambda: show.render(show.describe("schedule")),
    "compare": lambda: compare.render(records.compare()),
    "compare-lossy": lambda: compare.render(records.compare_lossy()),
    "compare-tasks": lambda: compare.render(records.compare_tasks()),
    "race": lambda: race.render(records.race()),
    "demo": lambda: demo.rendered(*records.demo(), Path("runs/demo")),
    "train": lambda: printing.measured(records.train(), "runs/awd-lstm-small, validation split"),
    "train-trials": lambda: trials.render(records.trials()),
    "evaluate-mixture": lambda: analysis.render(records.evaluate_mixture(), "runs/awd-lstm-small+runs/ngram-5, test"),
    "evaluate-labels": lambda: analysis.render(records.evaluate_task(), "runs/reviews, test"),
    "evaluate-scores": lambda: analysis.render(records.evaluate_scores(), "runs/similar, valid"),
    "transfer": lambda: transfer.render(records.transfer()),
    "probe": lambda: probe.render(records.probe()),
    "find-lr": lambda: Group(lr_finder.render(records.find_lr()), "", lr_finder.render(records.find_lr_without())),
    "score-tune": lambda: printing.properties(records.tuned()),
    "prepare": lambda: printing.properties(records.prepare()),
    "features": lambda: printing.properties(records.features()),
    "bench": lambda: bench.render(records.bench()),
    "bench-list": lambda: bench.render_list(records.bench_list()),
    "plan-text": lambda: plan.render(records.plan_text()),
    "plan-labels": lambda: plan.render(records.plan_labels()),
    "trace": lambda: trace.render(records.trace()),
    "doctor": lambda: diagnosis.render(records.doctor()),
    "doctor-corpus": lambda: diagnosis.render(records.doctor_corpus()),
    "doctor-labels": lambda: diagnosis.render(records.doctor_labels()),
    "doctor-run": lambda: diagnosis.render(records.doctor_run()),
}


def drawn(table: RenderableType, width: int) -> str:
    """A table as text, without blanks at the ends of lines."""
    console = Console(width=width, color_system=None, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(printing.Printable(table))
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def shot(name: str) -> str:
    """A table at every width."""
    return "\n".join(f"=== {width} columns\n{drawn(TABLES[name](), width)}" for width in WIDTHS)


if __name__ == "__main__":
    for name in TABLES:
        (FOLDER / f"{name}.txt").write_text(shot(name), encoding="utf-8")
