"""Everything that wants a GPU, in one go of under ten minutes: are the kernels right, and how fast are training steps.

    python benchmarks/gpu.py --out gpu.json            on a machine with one GPU
    python benchmarks/gpu.py --device cpu --tiny       anywhere, to see that it runs

Kernels and models are held against float64 on the same device: the error of a result is its largest difference,
divided by the largest value there is. Steps are timed through foretell's own trainer, in fp32 and bf16, beside the
model in plain torch (GPT) or torch.nn.LSTM (AWD-LSTM) in a bare loop. Prints one table and writes one JSON file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from foretell.api import assemble_stage
from foretell.data.encoding import Specials
from foretell.kernels.cross_entropy import linear_cross_entropy
from foretell.kernels.scan import linear_scan, linear_scan_reference
from foretell.nn.heads import AdaptiveHeadConfig, FullHeadConfig, Head
from foretell.recipe import Recipe, load_recipe
from foretell.run import Run, write_json
from foretell.training.monitor import Monitor
from foretell.training.trainer import Position, Trainer
from foretell.types import Batch, Inputs

Record = dict[str, Any]
BUDGET = 540.0  # seconds: what has not begun by then is left out, and named


@dataclass(frozen=True)
class Plan:
    """Where and how much."""

    device: torch.device
    tiny: bool
    begun: float

    @property
    def late(self) -> bool:
        """Whether there is no time for more."""
        return time.monotonic() - self.begun > BUDGET

    def wait(self) -> None:
        """Until the device has done all it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, function: Callable[[], Any], repeat: int) -> float:
        """Median seconds of a call, behind three that do not count."""
        times = []
        for _ in range(3 + (1 if self.tiny else repeat)):
            self.wait()
            begin = time.perf_counter()
            function()
            self.wait()
            times.append(time.perf_counter() - begin)
        return statistics.median(times[3:])


# --- right or wrong -------------------------------------------------------------------------------

TOLERANCES = {"fp32": 2e-4, "bf16": 5e-2}  # with TF32 products left off


def error(one: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the largest value of the second."""
    return float((one.double() - other).abs().max() / other.abs().max().clamp(min=1e-30))


def checks(plan: Plan) -> Iterator[Record]:
    """Every check with its error and whether that is small enough."""
    for precision in ("fp32", "bf16"):
        for name, found in [*cross_entropy(plan, precision), *scan(plan, precision), *steps(plan, precision)]:
            bound = TOLERANCES[precision]
            yield {"check": name, "precision": precision, "error": found, "bound": bound, "right": found < bound}


def cross_entropy(plan: Plan, precision: str) -> Iterator[tuple[str, float]]:
    """Losses and gradients of the chunked softmax, the scores whole and in chunks."""
    rows, width, vocabulary = (40, 16, 101) if plan.tiny else (2048, 512, 50_257)
    random = torch.Generator(device=plan.device).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, device=plan.device, dtype=torch.float64)

    hidden, weight, bias = draw(rows, width), draw(vocabulary, width) * width**-0.5, draw(vocabulary)
    targets = torch.randint(vocabulary, (rows,), generator=random, device=plan.device)

    def results(dtype: torch.dtype, function: Callable[..., Tensor]) -> list[Tensor]:
        leaves = [tensor.detach().to(dtype, copy=True).requires_grad_() for tensor in (hidden, weight, bias)]
        loss = function(*leaves)
        loss.sum().backward()
        return [loss.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    def reference(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return nn.functional.cross_entropy(h @ w.t() + b, targets, reduction="none")

    expected = results(torch.float64, reference)
    for chunk, name in ((rows * vocabulary, "whole"), (7 * vocabulary, "in chunks")):

        def ours(h: Tensor, w: Tensor, b: Tensor, chunk: int = chunk) -> Tensor:
            with torch.autocast(plan.device.type, torch.bfloat16, enabled=precision == "bf16"):
                return linear_cross_entropy(h, w, b, targets, chunk)

        found = results(torch.float32, ours)
        for part, mine, theirs in zip(("loss", "d hidden", "d weight", "d bias"), found, expected, strict=True):
            yield f"cross entropy {name}: {part}", error(mine, theirs)


def scan(plan: Plan, precision: str) -> Iterator[tuple[str, float]]:
    """States and gradients of the linear scan in both directions, over a prime number of steps, ragged rows too."""
    steps, rows, width = (7, 3, 5) if plan.tiny else (1009, 8, 1000)
    random = torch.Generator(device=plan.device).manual_seed(0)
    drawn = [torch.rand(shape, generator=random, device=plan.device) for shape in ((steps, rows, width), (rows, width))]
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    given = [part.to(dtype) for part in (drawn[0], drawn[0].flip(0) - 0.5, drawn[1])]
    direction = (drawn[0].roll(3, 0) - 0.5).to(dtype)
    lengths = torch.randint(steps + 1, (rows,), generator=random, device=plan.device)

    def results(function: Callable[..., Tensor], dtype: torch.dtype, **settings: Any) -> list[Tensor]:
        leaves = [part.to(dtype, copy=True).requires_grad_() for part in given]
        states = function(*leaves, **settings)
        states.backward(direction.to(dtype))
        return [states.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    for name, settings in (("forward", {}), ("reverse", {"reverse": True}), ("padded", {"lengths": lengths})):
        expected = results(linear_scan_reference, torch.float64, **settings)
        found = results(linear_scan, dtype, **settings)
        yield f"scan {name}: states and gradients", max(map(error, found, expected))


SMALL = {
    "lstm": {"model": {"kind": "recurrent", "embedding": 64, "hidden": 96, "layers": 2}},
    "gru": {"model": {"kind": "recurrent", "cell": "gru", "embedding": 64, "hidden": 96, "layers": 2}},
    "qrnn": {
        "model": {
            "kind": "recurrent",
            "cell": {"kind": "qrnn", "window": 2},
            "embedding": 64,
            "hidden": 96,
            "layers": 2,
        }
    },
    "mlstm": {"model": {"kind": "recurrent", "cell": "mlstm", "embedding": 64, "hidden": 96, "layers": 2}},
    "transformer": {"model": {"kind": "transformer", "hidden": 64, "heads": 4, "layers": 3, "context": 48}},
}


def steps(plan: Plan, precision: str) -> Iterator[tuple[str, float]]:
    """Loss and gradients of small models, rows of one length and of several, against the model in float64."""
    for name, tables in SMALL.items():
        recipe = load_recipe({**tables, "data": {"batches": {"kind": "streams", "length": 40}}})
        for lengths in (None, torch.tensor([40, 3, 17, 40, 29, 1])):
            torch.manual_seed(0)
            objective = recipe.build(300).to(plan.device)
            tokens, targets = torch.randint(300, (2, 6, 40))
            if lengths is not None:
                targets[torch.arange(40) >= lengths[:, None]] = -100
            batch = Batch(Inputs(tokens=tokens, lengths=lengths), targets).to(plan.device)
            expected = gradients(objective.double(), batch, "fp32", plan)
            found = gradients(objective.float(), batch, precision, plan)
            worst = max(error(found[key], expected[key]) for key in expected)
            yield f"{name}{', padded' if lengths is not None else ''}: loss and gradients", worst


def gradients(objective: nn.Module, batch: Batch, precision: str, plan: Plan) -> dict[str, Tensor]:
    """The loss and every parameter's gradient, in float64."""
    objective.train().zero_grad()
    with torch.autocast(plan.device.type, torch.bfloat16, enabled=precision == "bf16"):
        loss = objective(batch, None).terms["loss"].total
    loss.backward()
    found = {name: p.grad.double() for name, p in objective.named_parameters() if p.grad is not None}
    return found | {"loss": loss.detach().double()}


# --- how fast -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """One recipe at one size."""

    name: str
    recipe: str
    settings: dict[str, Any]
    vocabulary: int
    peer: Callable[[Recipe, int], nn.Module] | None = None
    compiled: bool = True
    """whether to try the compiler, too: it unrolls a loop over time, which takes longer than there is time for"""

    def shrunk(self) -> Work:
        """Next to nothing."""
        small: dict[str, Any] = {
            "data.batches.batch": 2,
            "data.batches.length": 8,
            "model.hidden": 8,
        }
        if "awd" in self.recipe:
            small |= {"model.layers": 2, "model.embedding": 8, "model.output": 8}
        if "gpt" in self.recipe:
            small |= {"model.layers": 2, "model.heads": 2, "model.context": 8}
        return replace(self, settings=self.settings | small, vocabulary=50)


def gpt(rows: int, context: int, **model: Any) -> dict[str, Any]:
    """Settings of a GPT-2 like model, without dropout."""
    batches = {"kind": "crops", "batch": rows, "length": context}
    return {
        "data.batches": batches,
        "model.context": context,
        **{f"model.{key}": value for key, value in model.items()},
    }


class PlainGPT(nn.Module):
    """The same Transformer in torch's own modules."""

    def __init__(self, recipe: Recipe, vocabulary: int):
        super().__init__()
        model: Any = recipe.model
        self.tokens, self.places = nn.Embedding(vocabulary, model.hidden), nn.Embedding(model.context, model.hidden)
        layer = nn.TransformerEncoderLayer(
            model.hidden,
            model.heads,
            4 * model.hidden,
            0.0,
            "gelu",
            batch_first=True,
            norm_first=True,
            bias=model.biases,
        )
        norm = nn.LayerNorm(model.hidden, bias=model.biases)
        self.layers = nn.TransformerEncoder(layer, model.layers, norm, enable_nested_tensor=False)
        self.head = nn.Linear(model.hidden, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores [B, T, V]."""
        steps = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(steps, device=tokens.device)
        x = self.tokens(tokens) + self.places(torch.arange(steps, device=tokens.device))
        scores: Tensor = self.head(self.layers(x, mask=mask, is_causal=True))
        return scores


class PlainLSTM(nn.Module):
    """A stack of torch.nn.LSTM of the same widths: ordinary dropout, no weight drop, no penalties."""

    def __init__(self, recipe: Recipe, vocabulary: int):
        super().__init__()
        model: Any = recipe.model
        widths = [model.embedding] + [model.hidden] * (model.layers - 1) + [model.output or model.hidden]
        self.tokens = nn.Embedding(vocabulary, model.embedding)
        self.layers = nn.ModuleList(nn.LSTM(widths[i], widths[i + 1], batch_first=True) for i in range(model.layers))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(widths[-1], vocabulary)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores [B, T, V]."""
        x = self.drop(self.tokens(tokens))
        for layer in self.layers:
            x = self.drop(layer(x)[0])
        scores: Tensor = self.head(x)
        return scores


class PlainMLSTM(nn.Module):
    """A multiplicative LSTM, products with the inputs for all steps at once and the rest in a loop under autograd."""

    def __init__(self, recipe: Recipe, vocabulary: int):
        super().__init__()
        model: Any = recipe.model
        width, embedding = model.hidden, model.embedding
        self.tokens, self.head = nn.Embedding(vocabulary, embedding), nn.Linear(width, vocabulary)
        self.of_inputs = nn.Linear(embedding, 5 * width)
        self.inner, self.outer = nn.Linear(width, width, bias=False), nn.Linear(width, 4 * width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores [B, T, V]."""
        products = self.of_inputs(self.tokens(tokens.t()))  # [T, B, 5 H]
        width = products.shape[2] // 5
        h = c = products.new_zeros(products.shape[1], width)
        outputs = []
        for gates, factor in zip(*(part.unbind() for part in products.split([4 * width, width], 2)), strict=True):
            i, f, g, o = (gates + self.outer(factor * self.inner(h))).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        scores: Tensor = self.head(torch.stack(outputs, 1))
        return scores


MLSTM = {
    "data.batches": {"kind": "streams", "batch": 256, "length": 256},
    "model": {"kind": "recurrent", "cell": "mlstm", "embedding": 64, "hidden": 4096, "layers": 1},
    "training.gradient_clip": 1.0,
}
"""As in arXiv:1808.01371: its tokens are characters, of which a V100 made 80,900 a second."""
QRNN_SIZE = {"data.batches.jitter": 0.0, "model.cell": "qrnn", "model.hidden": 1550, "model.layers": 4}

WORK = (
    Work("AWD-LSTM, PTB size", "awd-lstm-ptb", {"data.batches.jitter": 0.0}, 10_000, PlainLSTM),
    Work("AWD-QRNN, PTB size", "awd-lstm-ptb", QRNN_SIZE, 10_000, PlainLSTM),
    Work("mLSTM 4096", "char-lstm", MLSTM, 256, PlainMLSTM, compiled=False),
    Work("nanoGPT, CPU setting", "nanogpt-shakespeare", {}, 65, PlainGPT),
    Work("GPT 6 x 384", "nanogpt-shakespeare", gpt(64, 256, layers=6, heads=6, hidden=384), 65, PlainGPT),
    Work("GPT-2 124M", "nanogpt-shakespeare", gpt(16, 1024, layers=12, heads=12, hidden=768), 50_304, PlainGPT),
)


class Tokens:
    """As much of a split of a store as batches read: random tokens."""

    def __init__(self, count: int, vocabulary: int):
        self.tokens = np.random.default_rng(1).integers(0, vocabulary, count, dtype=np.uint16)
        self.documents = self.lines = np.array([0, count])


def speeds(plan: Plan) -> Iterator[Record]:
    """Milliseconds of a step and what follows from them, ours and the bare loop's."""
    for work in WORK:
        work = work.shrunk() if plan.tiny else work
        for precision in ("fp32", "bf16"):
            for side in ("ours", "ours, compiled", "bare torch"):
                record: Record = {"work": work.name, "precision": precision, "side": side}
                unwanted = plan.tiny or precision == "fp32" or not work.compiled
                if plan.late or (side == "ours, compiled" and unwanted):
                    if plan.late:
                        yield record | {"not_measured": "no time left"}
                    continue
                try:
                    yield record | speed(work, precision, side, plan)
                except (RuntimeError, torch.cuda.OutOfMemoryError) as problem:
                    yield record | {"not_measured": str(problem).splitlines()[0][:200]}


def output_layers(plan: Plan) -> Iterator[Record]:
    """Forward and backward of heads over a large vocabulary, beside torch's own."""
    vocabulary, width, rows, cutoffs = (300, 16, 12, (20, 90)) if plan.tiny else (267_735, 1024, 4096, (20_000, 60_000))
    adaptive = AdaptiveHeadConfig(cutoffs=cutoffs, bias=False)
    sides: dict[str, tuple[str, Callable[[], nn.Module]]] = {
        "ours": ("adaptive softmax", lambda: adaptive.build(width, vocabulary, None)),
        "torch.nn.AdaptiveLogSoftmaxWithLoss": (
            "adaptive softmax",
            lambda: nn.AdaptiveLogSoftmaxWithLoss(width, vocabulary, list(cutoffs), 4.0),
        ),
        "ours, full": ("full softmax", lambda: FullHeadConfig().build(width, vocabulary, None)),
        "torch.nn.Linear": ("full softmax", lambda: nn.Linear(width, vocabulary)),
    }
    often = 1 / torch.arange(1, vocabulary + 1, dtype=torch.float64)
    targets = torch.multinomial(often, rows, replacement=True).to(plan.device)
    hidden = torch.randn(rows, width, device=plan.device, requires_grad=True)
    for side, (work, make) in sides.items():
        for precision in ("fp32",) if "Adaptive" in side else ("fp32", "bf16"):  # torch's fails under autocast
            record: Record = {"work": work, "precision": precision, "side": side}
            if plan.late:
                yield record | {"not_measured": "no time left"}
                continue
            module = make().to(plan.device)
            if plan.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()

            def step(module: nn.Module = module, precision: str = precision) -> None:
                module.zero_grad(set_to_none=True)
                with torch.autocast(plan.device.type, torch.bfloat16, enabled=precision == "bf16"):
                    loss = head_loss(module, hidden, targets)
                loss.backward()

            seconds = plan.seconds(step, 10)
            yield record | {
                "milliseconds": 1000 * seconds,
                "tokens_per_second": rows / seconds,
                "teraflops": None if work == "adaptive softmax" else 6 * rows * width * vocabulary / seconds / 1e12,
                "peak_memory_bytes": torch.cuda.max_memory_allocated() if plan.device.type == "cuda" else None,
            }


def head_loss(module: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of a head of ours or of torch's."""
    if isinstance(module, Head):
        return module.nll(hidden, targets).mean()
    if isinstance(module, nn.Linear):
        return nn.functional.cross_entropy(module(hidden).float(), targets)
    loss: Tensor = module(hidden, targets).loss
    return loss


def speed(work: Work, precision: str, side: str, plan: Plan) -> Record:
    """One of them."""
    settings = {"training.precision": precision, "training.compile": side == "ours, compiled"}
    recipe = load_recipe(work.recipe, work.settings | settings)
    rows, length = recipe.data.batches.batch, recipe.data.batches.length
    if plan.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    step, parameters = (
        bare_step(work, recipe, precision, plan) if side == "bare torch" else our_step(work, recipe, plan)
    )
    step()
    plan.wait()
    first = time.perf_counter() - begin
    seconds = plan.seconds(step, 20)
    memory = torch.cuda.max_memory_allocated() if plan.device.type == "cuda" else None
    return {
        "milliseconds": 1000 * seconds,
        "first_step_seconds": first,
        "tokens_per_second": rows * length / seconds,
        "teraflops": 6 * parameters * rows * length / seconds / 1e12,
        "peak_memory_bytes": memory,
    }


def our_step(work: Work, recipe: Recipe, plan: Plan) -> tuple[Callable[[], None], int]:
    """A step of foretell's trainer, and how many parameters there are."""
    torch.manual_seed(0)
    objective = recipe.build(work.vocabulary).to(plan.device)
    text = Tokens(recipe.data.batches.batch * recipe.data.batches.length * 50, work.vocabulary)
    batches = recipe.data.batches.build(text, Specials(boundary=0), 1)
    stage = assemble_stage(recipe, objective, batches, dict, name="bench", bytes_per_token=1.0)
    run = Run(tempfile.mkdtemp())
    trainer = Trainer(run, stage, Position(), seed=1, monitor=Monitor(quiet=True))
    return lambda: trainer.step(trainer.progress()), sum(p.numel() for p in objective.parameters())


def bare_step(work: Work, recipe: Recipe, precision: str, plan: Plan) -> tuple[Callable[[], None], int]:
    """A step of the plain model in a plain loop."""
    assert work.peer is not None
    torch.manual_seed(0)
    model = work.peer(recipe, work.vocabulary).to(plan.device).train()
    optimizer = recipe.optimizer.build(list(model.parameters()))
    rows, length = recipe.data.batches.batch, recipe.data.batches.length
    data = torch.randint(work.vocabulary, (rows, length + 1), device=plan.device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(plan.device.type, torch.bfloat16, enabled=precision == "bf16"):
            scores = model(data[:, :-1])
        loss = nn.functional.cross_entropy(scores.float().flatten(0, 1), data[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.training.gradient_clip or 1.0)
        optimizer.step()

    return step, sum(p.numel() for p in model.parameters())


SCANS = ((140, 40, 1550), (512, 64, 1024), (4096, 8, 1024), (4096, 16, 4096))
"""Steps, rows, width."""


def scans(plan: Plan) -> Iterator[Record]:
    """Forward and backward of the linear scan, beside torch.nn.LSTM of that size.

    GB/s counts nine arrays: factors and terms read, states written; factors and the gradient read, that of the terms
    written; that and the states read, the gradient of the factors written.
    """
    for steps, rows, width in ((7, 2, 3),) if plan.tiny else SCANS:
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            for side in ("scan", "nn.LSTM"):
                record: Record = {"work": f"scan {steps} x {rows} x {width}", "precision": precision, "side": side}
                if plan.late:
                    yield record | {"not_measured": "no time left"}
                    continue
                try:
                    seconds = scan_seconds(side, (steps, rows, width), dtype, plan)
                except (RuntimeError, torch.cuda.OutOfMemoryError) as problem:
                    yield record | {"not_measured": str(problem).splitlines()[0][:200]}
                    continue
                traffic = 9 * steps * rows * width * dtype.itemsize / seconds / 1e9 if side == "scan" else None
                speed = {"milliseconds": 1000 * seconds, "tokens_per_second": steps * rows / seconds}
                yield record | speed | {"gigabytes_per_second": traffic}


def scan_seconds(side: str, shape: tuple[int, int, int], dtype: torch.dtype, plan: Plan) -> float:
    """Seconds of one, forward and backward."""
    a, b, direction = (torch.rand(shape, device=plan.device, dtype=dtype) for _ in range(3))
    wanted = [a.requires_grad_(), b.requires_grad_()]
    if side == "scan":
        return plan.seconds(lambda: torch.autograd.grad(linear_scan(a, b), wanted, direction), 20)
    layer = nn.LSTM(shape[2], shape[2], device=plan.device, dtype=dtype)
    parameters = [b, *layer.parameters()]
    return plan.seconds(lambda: torch.autograd.grad(layer(b)[0], parameters, direction), 5)


def floors(plan: Plan) -> Record:
    """What the device gives at best: GB/s of a copy, TFLOP/s of a product."""
    size = 2**16 if plan.tiny else 2**28
    one, two = (torch.rand(size, device=plan.device) for _ in range(2))
    found: Record = {"copy GB/s": 8 * size / plan.seconds(lambda: two.copy_(one), 20) / 1e9}
    width = 64 if plan.tiny else 8192
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        matrix = torch.randn(width, width, device=plan.device, dtype=dtype)
        found[f"{name} TFLOP/s"] = 2 * width**3 / plan.seconds(lambda m=matrix: m @ m, 20) / 1e12  # type: ignore[misc]
    return found


# --- together -------------------------------------------------------------------------------------


def measure(plan: Plan) -> Record:
    """All of it."""
    name = torch.cuda.get_device_name() if plan.device.type == "cuda" else "cpu"
    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "cuda": torch.version.cuda}
    result: Record = {"device": name, "versions": versions, "tiny": plan.tiny, "floors": floors(plan)}
    result["checks"] = list(checks(plan))
    result["scans"] = list(scans(plan))
    result["speeds"] = [*output_layers(plan), *speeds(plan)]
    return result | {"seconds": time.monotonic() - plan.begun}


def render(result: Record) -> Table:
    """One table: what is wrong, then what is fast."""
    wrong = [check for check in result["checks"] if not check["right"]]
    right = f"{len(result['checks']) - len(wrong)} of {len(result['checks'])} checks right"
    best = ", ".join(f"{name}: {value:,.1f}" for name, value in result["floors"].items())
    table = Table("work", "precision", "side", "ms", "tokens/s", "TFLOP/s (6 N)", "memory", title=f"{right}; {best}")
    for check in wrong:
        table.add_row(check["check"], check["precision"], "WRONG", f"error {check['error']:.1e}", "", "", "")
    for item in [*result["scans"], *result["speeds"]]:
        row = [item["work"], item["precision"], item["side"]]
        if "not_measured" in item:
            table.add_row(*row, "not measured", item["not_measured"])
            continue
        memory = item.get("peak_memory_bytes")
        rate = f"{item['teraflops']:.1f}" if item.get("teraflops") else ""
        if item.get("gigabytes_per_second"):
            rate = f"{item['gigabytes_per_second']:,.0f} GB/s"
        numbers = (f"{item['milliseconds']:.2f}", f"{item['tokens_per_second']:,.0f}", rate)
        table.add_row(*row, *numbers, "" if memory is None else f"{memory / 2**30:.2f} GiB")
    return table


def main() -> None:
    """Measure, print, write; exit code 1 where a check is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    options = parser.parse_args()
    plan = Plan(torch.device(options.device), options.tiny, time.monotonic())
    result = measure(plan)
    write_json(options.out, result)
    Console(width=130).print(render(result))
    print(json.dumps({"checks": len(result["checks"]), "wrong": sum(not c["right"] for c in result["checks"])}))
    sys.exit(0 if all(check["right"] for check in result["checks"]) else 1)


if __name__ == "__main__":
    main()
