"""Small things to test with: members of unions, tiny texts, recipes, batches and trainers."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

import foretell
from foretell import config, trees
from foretell.config import Amount, Config, union_members
from foretell.data.tokenizers.specials import Specials
from foretell.evaluate.evaluator import FunctionEvaluator
from foretell.models.recurrent import RecurrentConfig
from foretell.models.transformer import TransformerConfig
from foretell.nn.embedding import AdaptiveEmbeddingConfig
from foretell.nn.recurrent.kinds import CellChoice
from foretell.nn.recurrent.lstm import GRUConfig, LSTMConfig
from foretell.nn.recurrent.mlstm import MLSTMConfig
from foretell.objectives.objective import Objective
from foretell.optim.averaging import NoAveragingConfig
from foretell.optim.optimizers import SGDConfig
from foretell.optim.schedules.constant import ConstantConfig
from foretell.run import Run
from foretell.training.checkpoint import TrainState, pointed
from foretell.training.monitor import Monitor
from foretell.training.settings import SavingConfig, TrainingConfig
from foretell.training.stage import Stage
from foretell.training.trainer import Trainer
from foretell.types import Batch, Inputs

# --- cases ----------------------------------------------------------------------------------------


def covering(first: Iterable[Any], second: Iterable[Any], each: int = 2) -> list[Any]:
    """All pairs as parameters of a test; those beyond `each` of the second per first one are slow.

    The fast ones have every member of both, as far as there are enough.
    """
    outer, inner = list(first), list(second)
    return [
        pytest.param(one, other, marks=() if (place - each * number) % len(inner) < each else pytest.mark.slow)
        for number, one in enumerate(outer)
        for place, other in enumerate(inner)
    ]


# --- members of unions ----------------------------------------------------------------------------


def members(choice: Any) -> list[type[Config]]:
    """The classes of an annotated union such as `HeadChoice`."""
    return union_members(get_args(choice)[0])


def small(member: type[Config], **settings: Any) -> Config:
    """A config of any class with sizes fit for a test, as far as it has such settings."""
    sizes = {
        "embedding_dim": 6,
        "hidden": 4,
        "layers": 2,
        "heads": 2,
        "context": 16,
        "batch": 3,
        "length": 4,
        "size": 300,
    }
    known = {key: value for key, value in sizes.items() if key in member.model_fields}
    return config.validate(member, known | settings, "small")


VARIANTS: dict[str, list[dict[str, Any]]] = {
    "qrnn": [{"window": 3, "pooling": "ifo", "zoneout": 0.2}, {"window": 2, "pooling": "f", "learned_state": True}]
}
"""Cells that are something else with other settings."""


def small_models(choice: Any, **settings: Any) -> Iterator[Config]:
    """Every kind of model, also with adaptive word vectors, and where a model has cells, with every kind of cell."""
    for member in members(choice):
        if "embedding" in member.model_fields:
            yield small(member, embedding=AdaptiveEmbeddingConfig(cutoffs=(4, 9), divide=2), **settings)
        if "cell" not in member.model_fields:
            yield small(member, **settings)
            continue
        for cell in members(CellChoice):
            for learned in (False, True):
                yield small(member, **{"cell": cell(learned_state=learned)} | settings)
            for variant in VARIANTS.get(cell.kind_name(), []):
                yield small(member, **{"cell": cell(**variant)} | settings)


def arrangements() -> Iterator[Config]:
    """Recurrent models of other stacks, directions and widths, and with what their cells can do beside the plain."""
    for settings in (
        {"stack": "residual"},
        {"stack": "dense", "layers": 3},
        {"stack": "summed", "layers": 3},
        {"hidden": (5, 3)},
        {"direction": "reverse"},
        {"direction": "both"},
        {"direction": "both", "stack": "dense"},
        {"cell": LSTMConfig(layer_norm=True)},
        {"cell": LSTMConfig(projection=2)},
        {"cell": LSTMConfig(dropout={"zoneout": 0.1, "zoneout_cell": 0.5, "state": 0.2, "update": 0.2})},
        {"cell": GRUConfig(reset="before", layer_norm=True)},
        {"cell": MLSTMConfig(weight_norm=True, dropout={"input_weight": 0.2, "rows": True})},
        {"cell": MLSTMConfig(layer_norm=True), "stack": "residual"},
    ):
        yield small(RecurrentConfig, **settings)
    for settings in ATTENDING.values():
        yield small(TransformerConfig, **{"embedding_dim": None} | settings)


ATTENDING: dict[str, dict[str, Any]] = {
    "bert": {"direction": "both", "norm": {"kind": "post", "embedding": True}, "segments": 2},
    "albert": {"direction": "both", "embedding_dim": 6, "layers": 3, "groups": 1, "norm": "post", "segments": 2},
    "megatron": {"direction": "both", "norm": "pre", "activation": "gelu_tanh"},
    "cramming": {"direction": "both", "positions": "sinusoid", "activation": "geglu", "biases": False},
    "gpt": {"norm": "post", "activation": "gelu_tanh"},
    "llama": {
        **{"norm": {"type": "rms"}, "activation": "swiglu", "biases": False, "positions": "rotary"},
        **{"heads": [2, 1], "head_dim": 6},
    },
    "rotary": {"positions": "rotary", "groups": 2, "layers": 5, "qk_norm": True},
    "rotary both": {"positions": "rotary", "direction": "both"},
    "sinusoid": {"positions": "sinusoid", "embedding_dim": 6},
    "no positions": {"positions": "none", "activation": "relu"},
    "offset": {"positions": {"kind": "learned", "offset": 2}},
}
"""Transformers of other directions, norms, positions and sharing, by what has them."""


def name_of(value: Any) -> str:
    """How a config shows up in the name of a test."""
    if isinstance(value, type) and issubclass(value, Config):
        return value.kind_name()
    if not isinstance(value, Config):
        return str(value)
    cell = getattr(value, "cell", None)
    words = ["adaptive words"] * isinstance(getattr(value, "embedding", None), AdaptiveEmbeddingConfig)
    if cell is None:
        special = [name for name, made in ATTENDING.items() if same_settings(value, made)]
        return "-".join([type(value).kind_name(), *special, *words])
    arranged = [value.stack, value.direction, "widths" * isinstance(value.hidden, tuple)]
    special = [name for name in cell.model_dump(exclude_defaults=True) if name != "kind"]
    known = {"plain", "forward", ""}
    return "-".join([value.kind, cell.kind, *special, *(word for word in arranged if word not in known), *words])


def same_settings(value: Config, settings: Mapping[str, Any]) -> bool:
    """Whether it is the Transformer of `arrangements` with those settings."""
    return isinstance(value, TransformerConfig) and value == small(
        TransformerConfig, **{"embedding_dim": None} | settings
    )


# --- text -----------------------------------------------------------------------------------------

BOUNDARY = 99
SPECIALS = Specials(boundary=BOUNDARY)


@dataclass(frozen=True)
class FakeText:
    """What batches need of a split: 0, 1, 2, … as tokens, so that a token tells its place."""

    tokens: np.ndarray
    documents: np.ndarray
    lines: np.ndarray


def fake_text(tokens: int = 53) -> FakeText:
    """Documents of very different lengths with lines in them, one of each empty."""
    documents = sorted({0, min(1, tokens), tokens // 9, tokens // 2, tokens} | {tokens})
    lines = sorted({*documents, *range(0, tokens, 7), *range(3, tokens, 11)})
    twice = lambda places: np.array(sorted([*places, places[1]]), dtype=np.int64)  # noqa: E731
    return FakeText(np.arange(tokens, dtype=np.uint16) % BOUNDARY, twice(documents), twice(lines))


def write_corpus(folder: Path, words: int = 600) -> dict[str, str]:
    """Text in which each word says much about the next one, as files by split."""
    draw = random.Random(5)
    names = ["the", "a", "cat", "dog", "sat", "ran", "on", "mat", "tree", "and", "then", "slept"]
    follows = {word: draw.sample(names, 3) for word in names}
    paths = {}
    for split, size in {"train": words, "valid": words // 6, "test": words // 6}.items():
        word, lines, line = "the", [], []
        for _ in range(size):
            line.append(word)
            word = draw.choice(follows[word])
            if draw.random() < 0.15:
                lines.append(" ".join(line))
                line = []
        paths[split] = folder / f"{split}.txt"
        paths[split].write_text("\n".join([*lines, *filter(None, [" ".join(line)])]) + "\n")
    return {split: str(path) for split, path in paths.items()}


# --- recipes --------------------------------------------------------------------------------------


def tables(corpus: Mapping[str, str], **changes: Any) -> dict[str, Any]:
    """A recipe that trains in a second; changes are dotted names with `__` for the dot."""
    plain = {
        "name": "tiny",
        "limit": "12steps",
        "data": {
            "corpus": dict(corpus),
            "tokenizer": {"kind": "word"},
            "batches": {"kind": "streams", "batch": 4, "length": 10},
        },
        "model": {"kind": "recurrent", "embedding_dim": 8, "hidden": 8, "layers": 1},
        "optimizer": {"kind": "sgd", "learning_rate": 1.0},
        "training": {"log_every": "1steps"},
    }
    return trees.override(plain, {key.replace("__", "."): v for key, v in changes.items()})


def averaging(corpus: Mapping[str, str], **changes: Any) -> dict[str, Any]:
    """AWD-LSTM in miniature: all its dropouts and penalties, random windows, NT-ASGD."""
    everything = {
        "limit": "3epochs",
        "model.dropout": dict(embedding=0.1, input=0.2, between=0.2, output=0.2, weight=0.3),
        "model.layers": 2,
        "data.batches": dict(kind="streams", batch=4, length=10, jitter=2.0),
        "head.tied": True,
        "objective.penalties": [{"kind": "activation"}, {"kind": "temporal"}],
        "optimizer": {"kind": "sgd", "learning_rate": 10.0, "momentum": 0.5},
        "averaging": {"kind": "nt-asgd", "patience": 0},
        "schedule": {"kind": "plateau", "by": 0.9},
        "training": {"gradient_clip": 0.25, "log_every": "3steps"},
        "evaluation.every": "5steps",
        "checkpoint.every": "4steps",
    }
    return trees.override(trees.override(tables(corpus), everything), dotted(changes))


def attending(corpus: Mapping[str, str], **changes: Any) -> dict[str, Any]:
    """A GPT in miniature, on crops, with all its dropouts."""
    everything = {
        "limit": "2epochs",
        "model": {"kind": "transformer", "hidden": 8, "layers": 2, "heads": 2, "context": 10},
        "model.dropout": dict(input=0.1, attention=0.1, residual=0.1),
        "data.batches": dict(kind="crops", batch=4, length=10),
        "head": {"tied": True, "bias": False},
        "optimizer": {"kind": "adamw", "learning_rate": 0.01},
        "training": {"gradient_clip": 1.0, "log_every": "3steps"},
        "checkpoint.every": "4steps",
    }
    return trees.override(trees.override(tables(corpus), everything), dotted(changes))


def masking(corpus: Mapping[str, str], **changes: Any) -> dict[str, Any]:
    """A masked model in miniature that reads both ways, with dropout."""
    everything = {
        "limit": "2epochs",
        "data.tokenizer": {"kind": "word", "specials": "bert"},
        "data.batches": dict(kind="full", batch=4, length=12),
        "model": {"kind": "recurrent", "direction": "both", "embedding_dim": 8, "hidden": 8, "layers": 1},
        "model.dropout": dict(output=0.1),
        "objective": {"kind": "masked"},
        "optimizer": {"kind": "adamw", "learning_rate": 0.02},
        "training": {"log_every": "3steps"},
        "checkpoint.every": "4steps",
    }
    return trees.override(trees.override(tables(corpus), everything), dotted(changes))


def replacing(corpus: Mapping[str, str], **changes: Any) -> dict[str, Any]:
    """An ELECTRA in miniature, with dropout."""
    everything = {
        "limit": "2epochs",
        "model": {"kind": "transformer", "direction": "both", "hidden": 8, "layers": 1, "heads": 2, "context": 12},
        "model.dropout": dict(residual=0.1),
        "head": {"tied": True, "transform": {}},
        "objective": {"kind": "replaced", "generator": {"hidden_share": 0.5}},
        "optimizer": {"kind": "adamw", "learning_rate": 0.01, "bias_correction": False},
        "checkpoint.every": "7steps",
    }
    return trees.override(masking(corpus, **everything), dotted(changes))


def dotted(changes: Mapping[str, Any]) -> dict[str, Any]:
    """`a__b` as `a.b`."""
    return {key.replace("__", "."): value for key, value in changes.items()}


# --- batches and trainers -------------------------------------------------------------------------


def ragged_batch(vocabulary: int, lengths: Iterable[int] = (6, 2, 0, 5)) -> Batch:
    """Random tokens in rows of different lengths."""
    lengths = torch.tensor(list(lengths))
    shape = (len(lengths), int(lengths.max()))
    random = torch.Generator().manual_seed(3)
    tokens, targets = torch.randint(vocabulary, (2, *shape), generator=random)
    padding = torch.arange(shape[1]) >= lengths[:, None]
    inputs = Inputs(tokens=tokens.masked_fill(padding, 0), lengths=lengths)
    return Batch(inputs=inputs, targets=targets.masked_fill(padding, -100))


def trainer_of(objective: Objective, run: Run | None = None, **training: Any) -> Trainer:
    """A trainer around an objective, for calling its parts: there is no data behind it."""
    parameters = list(objective.parameters())
    stage = Stage(
        name="test",
        objective=objective,
        batches=[],
        optimizer=SGDConfig().build(parameters),
        schedule=ConstantConfig().build(),
        averager=NoAveragingConfig().build(parameters),
        limit=Amount.model_validate("1steps"),
        training=TrainingConfig(**training),
        saving=SavingConfig(),
        evaluator=FunctionEvaluator(dict),
        validate_every=Amount.model_validate("1steps"),
        bytes_per_token=1.0,
    )
    return Trainer(run, stage, TrainState(), seed=1, monitor=Monitor(quiet=True))


# --- comparing ------------------------------------------------------------------------------------


def leaves(state: Any) -> list[Tensor]:
    """The tensors of a state in order."""
    if state is None:
        return []
    return [state] if isinstance(state, Tensor) else [t for part in state for t in leaves(part)]


def assert_same(one: Any, other: Any, tolerance: float = 0.0) -> None:
    """Two tensors, states, batches or mappings agree, by default to the last bit."""
    if isinstance(one, Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance, equal_nan=True)
    elif isinstance(one, Mapping):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key], tolerance)
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for mine, yours in zip(one, other, strict=True):
            assert_same(mine, yours, tolerance)
    elif isinstance(one, Batch | Inputs):
        for item in fields(one):
            assert_same(getattr(one, item.name), getattr(other, item.name), tolerance)
    else:
        assert one == other


# --- whole trainings ------------------------------------------------------------------------------

TENSOR_FILES = ("model", "averaged", "optimizer", "carried", "penalties")


def outcome(run: Path) -> dict[str, Any]:
    """All that a training leaves behind and that has to be the same however often it was stopped, as bytes."""
    found: dict[str, Any] = {}
    for name in ("last", "best"):
        where = pointed(Run(run), name)[0]
        assert where.intact()
        files = [where.path / f"{file}.safetensors" for file in TENSOR_FILES]
        found |= {f"{name} {file.name}": file.read_bytes() for file in files if file.exists()}
        position = where.record()["position"]
        found[name] = [position[key] for key in ("stage", "step", "tokens", "history", "finished")]
    return found


def losses(run: Path, kind: str = "valid") -> list[tuple[int, float]]:
    """[(step, loss)] of the records of one kind."""
    return [(record["step"], record["loss"]) for record in Run(run).metrics() if record["kind"] == kind]


def read_json(path: Path) -> dict[str, Any]:
    """The record in a file."""
    return dict(json.loads(path.read_text()))


def nothing(*_: Any) -> None:
    """In the place of `os.fsync`: no test cuts the power, and syncing takes most of the time."""


def train_dying_at(operation: int, recipe: Mapping[str, Any], out: Path) -> None:
    """Train or go on in a child process, which dies before its n-th operation on the disk that matters (0: never)."""
    done = 0

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            done += 1
            if done == operation:
                os._exit(9)
            return function(*args, **kwargs)

        return call

    os.fsync = nothing
    for name in ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir"):
        setattr(os, name, counting(getattr(os, name)))
    torch.set_num_threads(1)
    foretell.train(recipe, out, resume=True, quiet=True)


def run_command(words: str) -> tuple[str, bool, str]:
    """The exit code of a command line in its own process, whether it imported torch, and its errors."""
    code = (
        "import sys\nfrom foretell.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, 'torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words.split()], capture_output=True, text=True)
    *errors, last = done.stderr.splitlines()
    ended, torch_was_imported = last.split()
    return ended, torch_was_imported == "True", "\n".join(errors)
