"""Everything that wants a GPU, in one go of under ten minutes: are the kernels right, and how fast are training steps.

    python benchmarks/gpu.py --out gpu.json            on a machine with one GPU
    python benchmarks/gpu.py --device cpu --tiny       anywhere, to see that it runs

Kernels are held against float64 on the same device; models and optimisers against float64 on the processor, where
other code does the same: padded and packed rows have no masks there, and tensors are stepped one by one. The error of a
result is its largest difference, divided by the largest value there is.

Steps are timed through foretell's own trainer, beside the model in plain torch and that of transformers, where it is
installed, in a bare loop that neither loads nor masks anything. TFLOP/s are those of matrix products, counted as in
PaLM (Chowdhery et al. 2022, arXiv:2204.02311, appendix B): 6 for each weight that a token is multiplied by, which are
those of the output layer too, but no tables of words and positions; and 12 x layers x width x length for attention, as
if every token looked at all of its row. An output layer is counted for the tokens it has to be asked for: of a masked
model 15 % of them, though peers ask it for all. What is computed twice counts once. Their share of the peak is that of
the best large product measured here in the same precision; in brackets, without attention.

Prints one table and writes one JSON file.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from foretell.artifacts import write_json
from foretell.bench.workloads import bert
from foretell.bench.workloads.workload import random_tokens, trainer_of
from foretell.data.batches.masking import places_of
from foretell.kernels.cross_entropy import linear_cross_entropy
from foretell.kernels.scan import linear_scan, linear_scan_reference
from foretell.nn.heads import AdaptiveHeadConfig, FullHeadConfig, Head
from foretell.optim.lamb import LAMB, RULES
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe
from foretell.types import IGNORED, Batch, Inputs

Record = dict[str, Any]
BUDGET = 480.0  # seconds: what has not begun by then is left out, and named; the compiler may take a minute on top


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
        for name, found in (check for kind in KINDS for check in kind(plan, precision)):
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


def lamb(plan: Plan, precision: str) -> Iterator[tuple[str, float]]:
    """Weights after three steps of each variant, of tensors of several shapes, one of which begins at zero."""
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    random = torch.Generator().manual_seed(0)
    shapes = ((64, 48), (48,), (7, 3, 5), (1,), (9,))
    starts, *gradients = ([torch.randn(shape, generator=random).to(dtype) for shape in shapes] for _ in range(4))
    starts[-1].zero_()

    def after(device: torch.device, dtype: torch.dtype, variant: Any) -> list[Tensor]:
        weights = [nn.Parameter(start.to(device, dtype, copy=True)) for start in starts]
        optimizer = LAMB(weights, lr=0.1, variant=variant)
        for given in gradients:
            for weight, gradient in zip(weights, given, strict=True):
                weight.grad = gradient.to(device, dtype)
            optimizer.step()
        return [weight.detach().cpu() for weight in weights]

    for variant in RULES:
        found, expected = after(plan.device, dtype, variant), after(torch.device("cpu"), torch.float64, variant)
        yield f"LAMB, {variant}: three steps", max(map(error, found, expected))


def recurrent(cell: Any) -> dict[str, Any]:
    """Settings of two layers."""
    sizes = {"kind": "recurrent", "embedding_dim": 64, "hidden": 96, "layers": 2}
    return {"model": sizes | {"cell": cell}, "data": WINDOWS}


def attending(objective: Any = None, **model: Any) -> dict[str, Any]:
    """Settings of a Transformer of three layers: one that sees both sides where it has an objective that wants that."""
    sizes = {"kind": "transformer", "hidden": 64, "heads": 4, "layers": 3, "context": 48}
    if objective is None:
        return {"model": sizes | model, "data": WINDOWS}
    model = {"direction": "both", "norm": {"kind": "post", "embedding": True}, "segments": 2} | model
    rows = {"kind": "full", "length": 40}
    return {"model": sizes | model, "objective": objective, "data": {"tokenizer": WORDPIECE, "batches": rows}}


WINDOWS = {"batches": {"kind": "streams", "length": 40}}
WORDPIECE = {"kind": "wordpiece", "specials": "bert"}
ELECTRA = {"kind": "replaced"}
SMALL: dict[str, dict[str, Any]] = {
    **{cell: recurrent(cell) for cell in ("lstm", "gru", "mlstm")},
    "qrnn": recurrent({"kind": "qrnn", "window": 2}),
    "gpt": attending(),
    "gpt, rotary": attending(positions="rotary"),
    "gpt, sinusoid": attending(positions="sinusoid"),
    "gpt, no positions": attending(positions="none"),
    "bert": attending("masked"),
    "bert, rotary": attending("masked", positions="rotary", norm="pre"),
    "bert, sinusoid": attending("masked", positions="sinusoid", activation="geglu"),
    "roberta": attending("masked", positions={"kind": "learned", "offset": 2}, segments=0),
    "albert": attending("masked", embedding_dim=32, groups=1),
    "electra": attending(ELECTRA | {"generator": {"kind": "smaller", "hidden_share": 0.5}}),
    "electra, no generator": attending(ELECTRA | {"generator": {"kind": "uniform"}}),
}
DRAWING = ("electra",)
"""by what it has computed: in bf16 it draws other tokens than in float64, and is another model from there on"""


def models(plan: Plan, precision: str) -> Iterator[tuple[str, float]]:
    """Loss and gradients of small models, rows of one length and of several, and with documents packed in them."""
    for name, tables in SMALL.items():
        if precision == "bf16" and name in DRAWING:
            continue
        recipe = load_recipe(tables)
        batches = small_batches(packed="documents" in reads(recipe), masked=recipe.requires == "rows")
        for rows, batch in (batches[0], batches[-1]) if plan.tiny else batches:
            torch.manual_seed(0)
            objective = recipe.build(300)
            expected = gradients(objective.double(), batch, "fp32")
            found = gradients(objective.float().to(plan.device), batch, precision)
            worst = max(error(found[key], expected[key]) for key in expected)
            yield f"{name}, {rows}: loss and gradients", worst


def reads(recipe: Recipe) -> frozenset[str]:
    """What a recipe's model can make use of."""
    with torch.device("meta"):
        return recipe.build(300).backbone.reads


def small_batches(*, packed: bool, masked: bool) -> list[tuple[str, Batch]]:
    """Six rows of 40 tokens by what they are like, with targets everywhere or, as of hidden tokens, here and there."""
    random = torch.Generator().manual_seed(0)
    tokens, targets = torch.randint(300, (2, 6, 40), generator=random)
    noise = torch.rand(6, 40, generator=random, dtype=torch.float64)
    hidden = torch.rand(6, 40, generator=random) < 0.3
    lengths = torch.tensor([40, 3, 17, 40, 29, 1])
    documents = (torch.rand(6, 40, generator=random) < 0.1).cumsum(1)
    segments = (torch.arange(40) >= 20).long().expand(6, 40)
    kinds: dict[str, dict[str, Tensor]] = {"whole": {}, "padded": {"lengths": lengths}}
    if packed:
        kinds |= {"packed": {"documents": documents}, "packed and padded": {"lengths": lengths, "documents": documents}}
    batches = []
    for name, extra in kinds.items():
        padding = torch.arange(40) >= extra.get("lengths", torch.full((6,), 40))[:, None]
        told = targets.masked_fill(padding | ~hidden if masked else padding, IGNORED)
        inputs = Inputs(tokens=tokens, segments=segments if masked else None, **extra)
        places = torch.from_numpy(places_of((told != IGNORED).numpy())) if masked else None
        batches.append((name, Batch(inputs, told, target_positions=places, noise=noise if masked else None)))
    return batches


def gradients(objective: nn.Module, batch: Batch, precision: str) -> dict[str, Tensor]:
    """The loss and every parameter's gradient, computed where the model is; copies in float64."""
    device = next(objective.parameters()).device
    objective.train().zero_grad()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        terms = objective(batch.to(device), None).terms.values()
        loss = sum((term.weight * term.total for term in terms), torch.zeros((), device=device))
    loss.backward()
    found = {name: p.grad for name, p in objective.named_parameters() if p.grad is not None} | {"loss": loss.detach()}
    return {name: tensor.to("cpu", torch.float64, copy=True) for name, tensor in found.items()}


KINDS: tuple[Callable[[Plan, str], Iterator[tuple[str, float]]], ...] = (cross_entropy, scan, lamb, models)


# --- how fast -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """One recipe at one size."""

    name: str
    recipe: str
    settings: dict[str, Any]
    vocabulary: int
    peers: Mapping[str, Callable[[Recipe, int], nn.Module]] = field(default_factory=dict)
    """models that make scores [B, T, V] of tokens [B, T], by what they are called"""
    compiled: bool = True
    """whether to try the compiler, too: it unrolls a loop over time, which takes longer than there is time for"""
    precisions: tuple[str, ...] = ("fp32", "bf16")

    def shrunk(self) -> Work:
        """Next to nothing."""
        small: dict[str, Any] = {
            "data.batches.batch": 2,
            "data.batches.length": 8,
            "model.hidden": 8,
        }
        if "awd" in self.recipe:
            small |= {"model.layers": 2, "model.embedding_dim": 8, "model.output": 8}
        if "gpt" in self.recipe or "bert" in self.recipe:
            small |= {"model.layers": 2, "model.heads": 2, "model.context": 8, "model.feed_forward": 16}
        return replace(self, settings=self.settings | small, vocabulary=50)


def gpt(rows: int, context: int, **model: Any) -> dict[str, Any]:
    """Settings for random crops as long as the context, and of the model."""
    return {
        "data.batches": {"kind": "crops", "batch": rows, "length": context},
        "model.context": context,
        **{f"model.{key}": value for key, value in model.items()},
    }


class PlainTransformer(nn.Module):
    """GPT-2, or BERT with the transform ahead of its output layer, in torch's own modules."""

    def __init__(self, recipe: Recipe, vocabulary: int):
        super().__init__()
        model: Any = recipe.model
        width, self.causal = model.hidden, model.direction == "forward"
        activation = partial(nn.functional.gelu, approximate="tanh" if model.activation == "gelu_tanh" else "none")
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(model.context, width)
        self.drop = nn.Dropout(model.dropout.input)
        layer = nn.TransformerEncoderLayer(
            width,
            model.heads,
            model.feed_forward or 4 * width,
            model.dropout.residual,
            activation,
            batch_first=True,
            norm_first=self.causal,
            bias=model.biases,
        )
        norm = nn.LayerNorm(width, bias=model.biases)
        self.first = nn.Identity() if self.causal else nn.LayerNorm(width)
        self.layers = nn.TransformerEncoder(layer, model.layers, norm if self.causal else None, False)
        transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.transform = nn.Identity() if self.causal else transform
        self.head = nn.Linear(width, vocabulary, bias=not self.causal)
        self.head.weight = self.tokens.weight
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores [B, T, V]."""
        steps = tokens.shape[1]
        x = self.drop(self.first(self.tokens(tokens) + self.places(torch.arange(steps, device=tokens.device))))
        mask = nn.Transformer.generate_square_subsequent_mask(steps, device=tokens.device) if self.causal else None
        scores: Tensor = self.head(self.transform(self.layers(x, mask=mask, is_causal=self.causal)))
        return scores


class Scores(nn.Module):
    """A model of transformers, asked for scores alone."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores [B, T, V]."""
        scores: Tensor = self.model(input_ids=tokens).logits
        return scores


def theirs(recipe: Recipe, vocabulary: int) -> nn.Module:
    """The same Transformer of transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their deprecations
        import transformers
    model: Any = recipe.model
    if model.direction == "forward":
        config = transformers.GPT2Config(
            vocab_size=vocabulary,
            n_positions=model.context,
            n_embd=model.hidden,
            n_layer=model.layers,
            n_head=model.heads,
            embd_pdrop=model.dropout.input,
            attn_pdrop=model.dropout.attention,
            resid_pdrop=model.dropout.residual,
            bos_token_id=0,
            eos_token_id=0,
        )
        return Scores(transformers.GPT2LMHeadModel(config))
    config = transformers.BertConfig(
        vocab_size=vocabulary,
        hidden_size=model.hidden,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        intermediate_size=model.feed_forward,
        max_position_embeddings=model.context,
        hidden_dropout_prob=model.dropout.residual,
        attention_probs_dropout_prob=model.dropout.attention,
    )
    return Scores(transformers.BertForMaskedLM(config))


class PlainLSTM(nn.Module):
    """A stack of torch.nn.LSTM of the same widths: ordinary dropout, no weight drop, no penalties."""

    def __init__(self, recipe: Recipe, vocabulary: int):
        super().__init__()
        model: Any = recipe.model
        widths = [model.embedding_dim] + [model.hidden] * (model.layers - 1) + [model.output or model.hidden]
        self.tokens = nn.Embedding(vocabulary, model.embedding_dim)
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
        width, embedding = model.hidden, model.embedding_dim
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
    "model": {"kind": "recurrent", "cell": "mlstm", "embedding_dim": 64, "hidden": 4096, "layers": 1},
    "training.gradient_clip": 1.0,
}
"""As in arXiv:1808.01371: its tokens are characters, of which a V100 made 80,900 a second."""
QRNN_SIZE = {"data.batches.jitter": 0.0, "model.cell": "qrnn", "model.hidden": 1550, "model.layers": 4}

BERT_LARGE = {
    "data.batches": {"kind": "full", "ends": "anywhere", "batch": 128, "length": 128},
    "training.recompute": False,
    "training.micro_batches": 1,
    "stages": [],
}
"""Rows of 128 tokens of which 15 % are to be guessed, nothing said of pairs; everything else as in the recipe."""
GPT_2 = gpt(16, 1024) | {"training.micro_batches": 1}
PLAIN, PLAIN_LSTM = {"bare torch": PlainTransformer}, {"bare torch": PlainLSTM}

WORK = (
    Work("GPT-2 124M", "gpt2-124m", GPT_2, 50_304, PLAIN | {"transformers": theirs}, precisions=("bf16",)),
    Work("BERT-large, 128", "bert-large", BERT_LARGE, 30_522, PLAIN | {"transformers": theirs}, precisions=("bf16",)),
    Work("AWD-LSTM, PTB size", "awd-lstm-ptb", {"data.batches.jitter": 0.0}, 10_000, PLAIN_LSTM),
    Work("AWD-QRNN, PTB size", "awd-lstm-ptb", QRNN_SIZE, 10_000, PLAIN_LSTM),
    Work("mLSTM 4096", "char-lstm", MLSTM, 256, {"bare torch": PlainMLSTM}, compiled=False),
    Work("nanoGPT, CPU setting", "nanogpt-shakespeare", {}, 65, PLAIN),
    Work("GPT 6 x 384", "nanogpt-shakespeare", gpt(64, 256, layers=6, heads=6, hidden=384), 65, PLAIN),
)
"""In this order, as there may be no time left for the last. 50,304 is 50,257 rounded up to a multiple of
64, as in nanoGPT."""


def speeds(plan: Plan, peaks: Record) -> Iterator[Record]:
    """Milliseconds of a step and what follows from them, ours and the bare loops'."""
    for work in WORK:
        work = work.shrunk() if plan.tiny else work
        for precision in work.precisions:
            for side in ("ours", "ours, compiled", *work.peers):
                record: Record = {"work": work.name, "precision": precision, "side": side}
                unwanted = plan.tiny or precision == "fp32" or not work.compiled
                if plan.late or (side == "ours, compiled" and unwanted):
                    if plan.late:
                        yield record | {"not_measured": "no time left"}
                    continue
                try:
                    yield record | speed(work, precision, side, plan, peaks[f"{precision} TFLOP/s"])
                except (RuntimeError, ImportError) as problem:  # no memory, or not installed
                    yield record | {"not_measured": str(problem).splitlines()[0][:200]}


def output_layers(plan: Plan, peaks: Record) -> Iterator[Record]:
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
            rate = None if work == "adaptive softmax" else 6 * rows * width * vocabulary / seconds / 1e12
            yield record | {
                "milliseconds": 1000 * seconds,
                "tokens_per_second": rows / seconds,
                "teraflops": rate,
                "share_of_peak": None if rate is None else rate / peaks[f"{precision} TFLOP/s"],
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


def speed(work: Work, precision: str, side: str, plan: Plan, peak: float) -> Record:
    """One of them; the device's peak in TFLOP/s."""
    settings = {"training.precision": precision, "training.compile": side == "ours, compiled"}
    recipe = load_recipe(work.recipe, work.settings | settings)
    tokens = recipe.data.batches.batch * recipe.data.batches.length
    gc.collect()  # what the side before has left
    if plan.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    step = bare_step(work, recipe, precision, side, plan) if side in work.peers else our_step(work, recipe, plan)
    step()
    plan.wait()
    first = time.perf_counter() - begin
    seconds = plan.seconds(step, 20)
    memory = torch.cuda.max_memory_allocated() if plan.device.type == "cuda" else None
    rate, plain = (flops * tokens / seconds / 1e12 for flops in flops_per_token(recipe, work.vocabulary))
    return {
        "milliseconds": 1000 * seconds,
        "first_step_seconds": first,
        "tokens_per_second": tokens / seconds,
        "teraflops": rate,
        "share_of_peak": rate / peak,
        "share_of_peak_without_attention": plain / peak,
        "peak_memory_bytes": memory,
    }


def flops_per_token(recipe: Recipe, vocabulary: int) -> tuple[float, float]:
    """Of a training step, see above; and without what attention multiplies beside its weights."""
    with torch.device("meta"):
        objective = recipe.build(vocabulary)
    length = recipe.data.batches.length
    every = objective.macs_per_token(length)
    attention = objective.backbone.macs_per_token(length) - objective.backbone.macs_per_token(0)
    return 6 * every, 6 * (every - attention)


def our_step(work: Work, recipe: Recipe, plan: Plan) -> Callable[[], None]:
    """A step of foretell's trainer, loading and masking included."""
    torch.manual_seed(0)
    if recipe.training.compile:
        torch.compiler.reset()  # as it makes no more than a few versions of one function
    count = recipe.data.batches.batch * recipe.data.batches.length * 50
    if recipe.requires == "rows":
        marks, tokenizer = len(bert.MARKS), bert.word_tokenizer(work.vocabulary)
        tokens = random_tokens(work.vocabulary - marks, count) + marks
    else:
        tokens, tokenizer = random_tokens(work.vocabulary, count), None
    trainer = trainer_of(recipe, work.vocabulary, tokens, str(plan.device), tokenizer)
    return lambda: trainer.step(trainer.progress())


def bare_step(work: Work, recipe: Recipe, precision: str, side: str, plan: Plan) -> Callable[[], None]:
    """A step of a plain model in a plain loop, on the same tokens each time."""
    torch.manual_seed(0)
    model = work.peers[side](recipe, work.vocabulary).to(plan.device).train()
    optimizer = recipe.optimizer.build(list(model.parameters()))
    rows, length = recipe.data.batches.batch, recipe.data.batches.length
    data = torch.randint(work.vocabulary, (rows, length + 1), device=plan.device)
    given, targets = data[:, :-1], data[:, 1:]
    if recipe.requires == "rows":
        targets = given.masked_fill(torch.rand(given.shape, device=plan.device) >= 0.15, IGNORED)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(plan.device.type, torch.bfloat16, enabled=precision == "bf16"):
            scores = model(given)
        nn.functional.cross_entropy(scores.float().flatten(0, 1), targets.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.training.gradient_clip or 1.0)
        optimizer.step()

    return step


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
                except RuntimeError as problem:
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
    """What the device gives at best: GB/s of a copy, TFLOP/s of a large product, which are the peaks of `speeds`."""
    size = 2**16 if plan.tiny else 2**28
    one, two = (torch.rand(size, device=plan.device) for _ in range(2))
    found: Record = {"copy GB/s": 8 * size / plan.seconds(lambda: two.copy_(one), 20) / 1e9}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        found[f"{name} TFLOP/s"] = max(product(width, dtype, plan) for width in ((64,) if plan.tiny else (4096, 8192)))
    return found


def product(width: int, dtype: torch.dtype, plan: Plan) -> float:
    """TFLOP/s of a product of square matrices."""
    one, two = (torch.randn(width, width, device=plan.device, dtype=dtype) for _ in range(2))
    return 2 * width**3 / plan.seconds(lambda: one @ two, 20) / 1e12


# --- together -------------------------------------------------------------------------------------


def measure(plan: Plan) -> Record:
    """All of it."""
    name = torch.cuda.get_device_name() if plan.device.type == "cuda" else "cpu"
    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "cuda": torch.version.cuda}
    result: Record = {"device": name, "versions": versions, "tiny": plan.tiny, "floors": floors(plan)}
    result["checks"] = list(checks(plan))
    result["speeds"] = [*speeds(plan, result["floors"]), *output_layers(plan, result["floors"])]
    result["scans"] = list(scans(plan))
    return result | {"seconds": time.monotonic() - plan.begun}


def render(result: Record) -> Table:
    """One table: what is wrong, then what is fast."""
    wrong = [check for check in result["checks"] if not check["right"]]
    right = f"{len(result['checks']) - len(wrong)} of {len(result['checks'])} checks right"
    best = ", ".join(f"{name}: {value:,.1f}" for name, value in result["floors"].items())
    columns = ("work", "precision", "side", "ms", "tokens/s", "TFLOP/s", "of peak", "memory")
    table = Table(*columns, title=f"{right}; {best}")
    for check in wrong:
        table.add_row(check["check"], check["precision"], "WRONG", f"error {check['error']:.1e}", "", "", "", "")
    for item in [*result["speeds"], *result["scans"]]:
        row = [item["work"], item["precision"], item["side"]]
        if "not_measured" in item:
            table.add_row(*row, "not measured", item["not_measured"])
            continue
        memory = item.get("peak_memory_bytes")
        rate = f"{item['teraflops']:.1f}" if item.get("teraflops") else ""
        if item.get("gigabytes_per_second"):
            rate = f"{item['gigabytes_per_second']:,.0f} GB/s"
        numbers = (f"{item['milliseconds']:.2f}", f"{item['tokens_per_second']:,.0f}", rate, share(item))
        table.add_row(*row, *numbers, "" if memory is None else f"{memory / 2**30:.2f} GiB")
    return table


def share(item: Record) -> str:
    """Of the device's peak, in brackets without attention."""
    whole, plain = item.get("share_of_peak"), item.get("share_of_peak_without_attention")
    return "" if whole is None else f"{whole:.0%}" + ("" if plain in (None, whole) else f" ({plain:.0%})")


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
