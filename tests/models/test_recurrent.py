"""Stacks of recurrent layers: what each layer reads, what the output is, which way it is read, what is left out."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import assert_same, losses, ragged_batch, small, tables, trainer_of
from torch import Tensor, nn

import foretell
from foretell import config
from foretell.errors import ConfigError
from foretell.models.recurrent import Recurrent, RecurrentConfig
from foretell.nn.heads import FullHeadConfig
from foretell.nn.recurrent.kinds import CellChoice
from foretell.nn.recurrent.lstm import LSTMConfig
from foretell.nn.recurrent.mlstm import MLSTMConfig
from foretell.objectives.causal import Causal, CausalConfig
from foretell.recipe.loading import load_recipe
from foretell.types import Inputs

VOCABULARY, ROWS, STEPS = 11, 5, 7
LENGTHS = torch.tensor([4, 0, 7, 2, 2])


def build(**settings: Any) -> Recurrent:
    torch.manual_seed(0)
    return small(RecurrentConfig, **settings).build(VOCABULARY).double().eval()


def tokens(rows: int = ROWS) -> Tensor:
    return torch.randint(VOCABULARY, (rows, STEPS), generator=torch.Generator().manual_seed(1))


def plain_lstm(block: nn.Module, x: Tensor) -> Tensor:
    """torch's own LSTM with a block's weights."""
    module = nn.LSTM(block.inputs, block.hidden, batch_first=True, dtype=x.dtype)
    module.load_state_dict({f"{name}_l0": value for name, value in block.state_dict().items()})
    return module(x)[0]


def by_hand(stack: str, blocks: list[nn.Module], x: Tensor) -> list[Tensor]:
    """The outputs of stacks of one, two, three … layers."""
    made: list[Tensor] = []
    outputs: list[Tensor] = []
    for block in blocks:
        read = {
            "plain": made[-1] if made else x,
            "residual": outputs[-1] if outputs else x,
            "dense": torch.cat([x, *made], -1),
            "summed": made[-1] if made else x,
        }[stack]
        made.append(plain_lstm(block, read))
        added = {"plain": [], "dense": [], "residual": outputs[-1:], "summed": made[:-1]}[stack]
        outputs.append(sum(added, made[-1]))
    return outputs


@pytest.mark.parametrize("stack", ["plain", "residual", "dense", "summed"])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_stacks(stack: str, layers: int) -> None:
    model = build(stack=stack, layers=layers)
    expected = by_hand(stack, list(model.blocks), model.embedding(tokens()))
    hidden = model(Inputs(tokens=tokens()), None)
    assert_same(hidden.layers, tuple(expected), 1e-12)
    assert_same(hidden.last, expected[-1], 1e-12)


def test_widths() -> None:
    model = build(hidden=(5, 3, 8), layers=3)
    assert [(block.inputs, block.output) for block in model.blocks] == [(6, 5), (5, 3), (3, 8)]
    assert model.dim == 8
    dense = build(hidden=(5, 3, 8), layers=3, stack="dense")
    assert [block.inputs for block in dense.blocks] == [6, 6 + 5, 6 + 5 + 3]
    projected = build(cell=LSTMConfig(projection=2), hidden=7, stack="residual")
    assert [(block.inputs, block.hidden, block.output) for block in projected.blocks] == [(6, 7, 2), (2, 7, 2)]
    assert projected.dim == 2
    assert small(RecurrentConfig, hidden=9, layers=3, output=6).widths == (9, 9, 6)


def test_both_ways_is_torchs() -> None:
    model = build(direction="both", hidden=4, layers=2)
    module = nn.LSTM(6, 4, 2, batch_first=True, bidirectional=True, dtype=torch.float64)
    ways = [layer for block in model.blocks for layer in (block.forwards, block.backwards.layer)]
    theirs = [f"l{layer}{way}" for layer in range(2) for way in ("", "_reverse")]
    pairs = zip(ways, theirs, strict=True)
    module.load_state_dict({f"{name}_{at}": value for way, at in pairs for name, value in way.state_dict().items()})
    x = model.embedding(tokens())
    hidden = model(Inputs(tokens=tokens()), None)
    assert model.dim == 8 and hidden.state is None
    assert_same(hidden.last, module(x)[0], 1e-12)

    order = LENGTHS.argsort(descending=True)[:-1]  # torch takes no empty rows
    packed = nn.utils.rnn.pack_padded_sequence(x[order], LENGTHS[order], batch_first=True)
    expected, _ = nn.utils.rnn.pad_packed_sequence(module(packed)[0], batch_first=True, total_length=STEPS)
    ragged = model(Inputs(tokens=tokens(), lengths=LENGTHS), None).last
    assert_same(ragged[order], expected, 1e-12)
    assert not ragged[1].any()


def test_reverse_is_forward_from_the_other_end() -> None:
    forward, reverse = build(), build(direction="reverse")
    there = {name.replace(".layer.", "."): value for name, value in reverse.state_dict().items()}
    forward.load_state_dict(there)
    expected = forward(Inputs(tokens=tokens().flip(1)), None).last.flip(1)
    assert_same(reverse(Inputs(tokens=tokens()), None).last, expected, 1e-12)


@pytest.mark.parametrize(("direction", "reads"), [("reverse", "lengths"), ("both", "bidirectional, lengths")])
def test_whole_sequences_are_not_for_predicting_the_next_token(direction: str, reads: str) -> None:
    recipe = load_recipe("char-lstm", [f"model.direction={direction}", "model.hidden=4"])
    with pytest.raises(ConfigError, match=f"Causal needs a model that reads causal; Recurrent reads {reads}$"):
        recipe.build(VOCABULARY)
    assert isinstance(recipe.objective, CausalConfig)


# --- layers left out ------------------------------------------------------------------------------


@pytest.mark.parametrize("stack", ["residual", "summed"])
def test_whole_layers_are_left_out_for_whole_rows(stack: str) -> None:
    rate, rows = 0.3, 5000
    model = build(stack=stack, layers=2, dropout={"layer": rate})
    text = Inputs(tokens=tokens(1).expand(rows, -1))
    first, last = model(Inputs(tokens=tokens(1)), None).layers  # each [1, T, H]
    branch = last - first
    model.train()
    torch.manual_seed(4)
    hidden = model(text, None)
    assert_same(hidden.layers[0], first.expand(rows, -1, -1), 1e-12)  # something always remains
    kept = (hidden.last - first).abs().amax((1, 2)) > 1e-12  # [rows]
    expected = torch.where(kept[:, None, None], first + branch / (1 - rate), first)
    assert_same(hidden.last, expected, 1e-9)
    assert abs(float(kept.double().mean()) - (1 - rate)) < 3 * math.sqrt(rate * (1 - rate) / rows)
    assert_same(model.eval()(text, None).last[:1], last, 1e-12)
    assert_same(hidden.state, model(text, None).state, 1e-12)  # what is left out goes on reading


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"hidden": [4, 5], "layers": 3}, "hidden has 2 widths for 3 layers"),
        ({"hidden": [4, 5], "layers": 2, "output": 5}, "leave out output = 5"),
        ({"hidden": "wide"}, "hidden: should be a valid integer"),
        ({"stack": "dense", "dropout": {"layer": 0.1}}, 'needs stack = "residual" or "summed"'),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        config.validate(RecurrentConfig, settings, "recipe")


@pytest.mark.parametrize("stack", ["residual", "summed"])
def test_layers_that_are_added_have_one_width(stack: str) -> None:
    with pytest.raises(ConfigError, match=r"all need the same width, but they are 4, 5; set model.hidden"):
        build(stack=stack, hidden=(4, 5))


def test_every_cell_goes_into_every_stack() -> None:
    for cell in config.union_members(CellChoice.__origin__):
        for stack in ("plain", "residual", "dense", "summed"):
            for direction in ("forward", "reverse", "both"):
                model = build(cell=cell(), stack=stack, direction=direction)
                hidden = model.train()(Inputs(tokens=tokens(), lengths=LENGTHS), None)
                assert hidden.dropped.shape == (ROWS, STEPS, model.dim)
                hidden.dropped.sum().backward()


# --- what went wrong elsewhere --------------------------------------------------------------------


def test_the_loss_of_padded_rows_is_the_mean_over_real_tokens() -> None:
    """sentiment-discovery multiplies by the share that is not padding instead of dividing by it."""
    torch.manual_seed(0)
    backbone = build(cell=MLSTMConfig(weight_norm=True))
    objective = Causal(backbone, FullHeadConfig().build(backbone.dim, VOCABULARY, None).double())
    batch = ragged_batch(VOCABULARY, (6, 2, 0, 5))
    loss, *_ = trainer_of(objective).backward(batch, None, objective.counts(batch))
    alone = []
    for row, length in enumerate((6, 2, 0, 5)):
        if length:
            hidden = backbone(Inputs(tokens=batch.inputs.tokens[row : row + 1, :length]), None)
            log_probs = objective.head.log_probs(hidden.last[0])
            alone += (-log_probs.gather(1, batch.targets[row, :length, None])[:, 0]).tolist()
    assert loss.item() == pytest.approx(sum(alone) / 13, abs=1e-12)


def test_a_run_knows_what_it_is(corpus: dict[str, str], tmp_path: Path) -> None:
    """sentiment-discovery's checkpoints need the flags again, and miss weight norm's tensors under other ones."""
    cell = {"kind": "mlstm", "weight_norm": True, "learned_state": True}
    changes: dict[str, Any] = {
        "model__cell": cell,
        "model__hidden": [8, 12],
        "model__layers": 2,
        "model__dropout": {"weight": 0.2},
    }
    changes |= {"limit": "60steps", "optimizer": {"kind": "adam", "learning_rate": 0.02}}
    trained = foretell.train(tables(corpus, **changes), tmp_path / "run", quiet=True)
    assert trained.recipe.model.cell == MLSTMConfig(weight_norm=True, learned_state=True)
    again = foretell.load(tmp_path / "run")
    assert {"gain_ih", "gain_hh", "weight_hh", "start"} <= {name.split(".")[-1] for name in again.weights}
    assert again.objective.backbone.dim == 12
    assert again.evaluate("valid")["loss"] == trained.evaluate("valid")["loss"]
    assert losses(tmp_path / "run")[-1][1] < 2.48  # log 12: there are twelve words
