"""Correctness on a device: kernels, optimisers, losses and gradients of models against float64.

Kernels are compared with float64 on the same device; models and optimisers with float64 on the CPU, which takes other
code paths: padded and packed rows need no masks there, and tensors are stepped one by one. The error of a result is its
largest difference divided by the largest reference value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from gpu_plan import Plan, Record
from torch import Tensor, nn

from foretell.data.batches.masking import places_of
from foretell.kernels.cross_entropy import linear_cross_entropy
from foretell.kernels.scan import linear_scan, linear_scan_reference
from foretell.optim.lamb import LAMB, RULES
from foretell.recipe.loading import load_recipe
from foretell.recipe.recipe import Recipe
from foretell.types import IGNORED, Batch, Inputs

TOLERANCES = {"fp32": 2e-4, "bf16": 5e-2}  # with TF32 products left off


def error(result: Tensor, reference: Tensor) -> float:
    """Largest difference relative to the largest reference value."""
    return float((result.double() - reference).abs().max() / reference.abs().max().clamp(min=1e-30))


def checks(plan: Plan) -> Iterator[Record]:
    """Every check with its error, its bound, and whether it passes."""
    for precision in ("fp32", "bf16"):
        for name, worst in (check for kind in KINDS for check in kind(plan, precision)):
            bound = TOLERANCES[precision]
            yield {"check": name, "precision": precision, "error": worst, "bound": bound, "right": worst < bound}


def cross_entropy(plan: Plan, precision: str) -> Iterator[tuple[str, float]]:
    """Losses and gradients of the chunked softmax, with all scores at once and in chunks."""
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

        computed = results(torch.float32, ours)
        for part, result, reference in zip(("loss", "d hidden", "d weight", "d bias"), computed, expected, strict=True):
            yield f"cross entropy {name}: {part}", error(result, reference)


def scan(plan: Plan, precision: str) -> Iterator[tuple[str, float]]:
    """States and gradients of the linear scan in both directions over a prime number of steps, and of ragged rows."""
    steps, rows, width = (7, 3, 5) if plan.tiny else (1009, 8, 1000)
    random = torch.Generator(device=plan.device).manual_seed(0)
    drawn = [torch.rand(shape, generator=random, device=plan.device) for shape in ((steps, rows, width), (rows, width))]
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    inputs = [part.to(dtype) for part in (drawn[0], drawn[0].flip(0) - 0.5, drawn[1])]
    direction = (drawn[0].roll(3, 0) - 0.5).to(dtype)
    lengths = torch.randint(steps + 1, (rows,), generator=random, device=plan.device)

    def results(function: Callable[..., Tensor], dtype: torch.dtype, **settings: Any) -> list[Tensor]:
        leaves = [part.to(dtype, copy=True).requires_grad_() for part in inputs]
        states = function(*leaves, **settings)
        states.backward(direction.to(dtype))
        return [states.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    for name, settings in (("forward", {}), ("reverse", {"reverse": True}), ("padded", {"lengths": lengths})):
        expected = results(linear_scan_reference, torch.float64, **settings)
        computed = results(linear_scan, dtype, **settings)
        yield f"scan {name}: states and gradients", max(map(error, computed, expected))


def lamb(plan: Plan, precision: str) -> Iterator[tuple[str, float]]:
    """Weights after three steps of each variant, for tensors of several shapes, one of them zero at the start."""
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    random = torch.Generator().manual_seed(0)
    shapes = ((64, 48), (48,), (7, 3, 5), (1,), (9,))
    starts, *gradients = ([torch.randn(shape, generator=random).to(dtype) for shape in shapes] for _ in range(4))
    starts[-1].zero_()

    def after(device: torch.device, dtype: torch.dtype, variant: Any) -> list[Tensor]:
        weights = [nn.Parameter(start.to(device, dtype, copy=True)) for start in starts]
        optimizer = LAMB(weights, lr=0.1, variant=variant)
        for step_gradients in gradients:
            for weight, gradient in zip(weights, step_gradients, strict=True):
                weight.grad = gradient.to(device, dtype)
            optimizer.step()
        return [weight.detach().cpu() for weight in weights]

    for variant in RULES:
        computed, expected = after(plan.device, dtype, variant), after(torch.device("cpu"), torch.float64, variant)
        yield f"LAMB, {variant}: three steps", max(map(error, computed, expected))


def recurrent(cell: Any) -> dict[str, Any]:
    """Settings of a recurrent model of two layers."""
    sizes = {"kind": "recurrent", "embedding_dim": 64, "hidden": 96, "layers": 2}
    return {"model": sizes | {"cell": cell}, "data": WINDOWS}


def attending(objective: Any = None, **model: Any) -> dict[str, Any]:
    """Settings of a Transformer of three layers; bidirectional if it has an objective."""
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
SAMPLING = ("electra",)
"""models that sample from their scores: in bf16 they sample other tokens than in float64, so results differ"""


def models(plan: Plan, precision: str) -> Iterator[tuple[str, float]]:
    """Loss and gradients of small models on whole, padded and packed rows."""
    for name, tables in SMALL.items():
        if precision == "bf16" and name in SAMPLING:
            continue
        recipe = load_recipe(tables)
        batches = small_batches(packed="documents" in reads(recipe), masked=recipe.requires == "rows")
        for rows, batch in (batches[0], batches[-1]) if plan.tiny else batches:
            torch.manual_seed(0)
            objective = recipe.build(300)
            expected = gradients(objective.double(), batch, "fp32")
            computed = gradients(objective.float().to(plan.device), batch, precision)
            worst = max(error(computed[key], expected[key]) for key in expected)
            yield f"{name}, {rows}: loss and gradients", worst


def reads(recipe: Recipe) -> frozenset[str]:
    """Inputs that the model of a recipe reads."""
    with torch.device("meta"):
        return recipe.build(300).backbone.reads


def small_batches(*, packed: bool, masked: bool) -> list[tuple[str, Batch]]:
    """Batches of six rows of 40 tokens by kind, with targets everywhere or, if `masked`, at 30 % of the positions."""
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
        kept = targets.masked_fill(padding | ~hidden if masked else padding, IGNORED)
        inputs = Inputs(tokens=tokens, segments=segments if masked else None, **extra)
        positions = torch.from_numpy(places_of((kept != IGNORED).numpy())) if masked else None
        batches.append((name, Batch(inputs, kept, target_positions=positions, noise=noise if masked else None)))
    return batches


def gradients(objective: nn.Module, batch: Batch, precision: str) -> dict[str, Tensor]:
    """The loss and the gradient of every parameter, computed on the device of the model, as float64 on the CPU."""
    device = next(objective.parameters()).device
    objective.train().zero_grad()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        terms = objective(batch.to(device), None).terms.values()
        loss = sum((term.weight * term.total for term in terms), torch.zeros((), device=device))
    loss.backward()
    results = {name: p.grad for name, p in objective.named_parameters() if p.grad is not None} | {"loss": loss.detach()}
    return {name: tensor.to("cpu", torch.float64, copy=True) for name, tensor in results.items()}


KINDS: tuple[Callable[[Plan, str], Iterator[tuple[str, float]]], ...] = (cross_entropy, scan, lamb, models)
