"""What all tasks share: losses beside their own, gradients cut short, examples that do not fit."""

import logging
from itertools import chain
from pathlib import Path

import pytest
import torch
from labelled import task_tables, write_labelled

from foretell.data.labelled.examples import Labelled, Tagged
from foretell.errors import ConfigError
from foretell.learning.task import TaskModule
from foretell.recipe.loading import load_recipe
from foretell.tasks.classification import ClassificationConfig
from foretell.tasks.task import OutputsConfig, between, each_reading
from foretell.types import Inputs


@pytest.mark.parametrize("model", ["recurrent", "gpt"])
def test_the_next_token_can_be_learnt_beside(model: str, tmp_path: Path) -> None:
    """Its term has its own denominator: the tokens that follow one."""
    tables = task_tables("pairs", model, write_labelled("pairs", tmp_path))
    recipe = load_recipe(tables, {"objective.language_weight": 0.5})
    examples = TaskModule(recipe)
    built = recipe.build(examples.tokenizer.size, labels=2).eval()
    batch = examples.batches()[0]
    step = built(batch, None)
    readings = batch.inputs.lengths.sum() if batch.inputs.lengths is not None else batch.inputs.tokens.numel()
    assert built.counts(batch) == {"label": 16, "language": int(readings) - 2 * 16}
    assert step.terms["language"].weight == 0.5
    flat, targets = batch.inputs.tokens.flatten(0, 1), batch.targets.flatten(0, 1)
    expected = 0.0
    for row, wanted in zip(flat, targets, strict=True):
        length = int((wanted != -100).sum()) + 1
        hidden = built.backbone(type(batch.inputs)(tokens=row[None, :length]), None).last[0, :-1]
        expected += built.head.nll(hidden, row[1:length]).sum().item()
    assert step.terms["language"].total.item() == pytest.approx(expected, rel=1e-4)


def test_gradients_go_through_the_end_of_a_long_text(tmp_path: Path) -> None:
    tables = task_tables("classification", "recurrent", write_labelled("classification", tmp_path))
    whole, cut = (load_recipe(tables, {"objective.gradient_length": n}) for n in (40, 3))
    examples = TaskModule(whole)
    batch = examples.batches()[0]
    found = []
    for recipe in (whole, cut):
        torch.manual_seed(1)
        built = recipe.build(examples.tokenizer.size, labels=3).train()
        total = built(batch, None).terms["label"].total
        total.backward()
        found.append((total.item(), {int(t) for t in built.backbone.embedding.weight.grad.any(1).nonzero()}))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)  # the same is read
    last = batch.inputs.tokens[:, -3:]
    assert found[1][1] <= {int(token) for token in last.flatten()}
    assert found[0][1] > found[1][1]


def test_what_does_not_fit_is_told_at_once_or_left_out(caplog: pytest.LogCaptureFixture) -> None:
    task, labels = ClassificationConfig(), ("bad", "good")
    good = [Labelled(("a",), "good", "a.tsv:1"), Labelled(("b", "c"), "bad", "a.tsv:2")]
    bad = [Labelled((" ",), "good", "a.tsv:3"), Labelled(("a",), "fine", "a.tsv:4")]
    assert task.usable_examples(good, labels) == good
    with pytest.raises(ConfigError) as problem:
        task.usable_examples(good + bad, labels)
    assert [line.split(":")[1] for line in str(problem.value).split("\n")[1:]] == ["3", "4"]
    with caplog.at_level(logging.WARNING, "foretell"):
        assert task.usable_examples([good[0], *bad, good[1]], labels, skip_bad=True) == good
    assert caplog.messages == ["left out 2 of 4 examples; the first: a.tsv:3: an empty text"]
    with pytest.raises(ConfigError, match="2 of 2 rows"):
        task.usable_examples(bad, labels, skip_bad=True)
    with pytest.raises(ConfigError, match=r"learns from labelled texts, and b.txt:1 has tagged words"):
        task.usable_examples([*good, Tagged(("a",), ("O",), "b.txt:1")], labels, skip_bad=True)


@pytest.mark.parametrize("hidden", [None, 5])
def test_output_layers_by_hand(hidden: int | None) -> None:
    torch.manual_seed(0)
    layers = OutputsConfig(hidden=hidden, dropout=0.5).build(4, 3)
    linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in linear] == ([(3, 4)] if hidden is None else [(5, 4), (3, 5)])
    assert not any(layer.bias.any() for layer in linear)
    inputs = torch.randn(2, 4)
    expected = inputs if hidden is None else (inputs @ linear[0].weight.T).clamp(min=0)
    torch.testing.assert_close(layers.eval()(inputs), expected @ linear[-1].weight.T)
    assert sum(isinstance(layer, torch.nn.Dropout) for layer in layers) == len(linear)


def test_readings_become_rows_and_windows() -> None:
    tokens, lengths = torch.arange(24).view(2, 3, 4), torch.tensor([[4, 2, 1], [0, 3, 4]])
    flat = each_reading(Inputs(tokens=tokens, lengths=lengths, segments=tokens + 1))
    assert flat.tokens.tolist() == [tokens[b, n].tolist() for b in range(2) for n in range(3)]
    assert torch.equal(flat.segments, flat.tokens + 1)
    assert each_reading(flat) is flat
    parts = [between(flat, begin, end) for begin, end in ((0, 1), (1, 3), (3, 4))]
    for row, length in enumerate(lengths.flatten().tolist()):
        real = [part.tokens[row, : int(part.lengths[row])].tolist() for part in parts]
        assert [*chain(*real)] == flat.tokens[row, :length].tolist()
