"""Training steps of a byte language model with a multiplicative LSTM (arXiv:1609.07959)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from foretell.bench.workloads.workload import OURS, Job, Side, Workload, timed

VOCABULARY, EMBEDDING, ROWS, STEPS = 256, 64, 32, 64


def ours(job: Job, width: int) -> dict[str, Any]:
    """foretell's model, head and objective."""
    import torch

    from foretell.recipe.loading import load_recipe
    from foretell.types import Batch, Inputs

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    model = {"kind": "recurrent", "cell": "mlstm", "embedding_dim": EMBEDDING, "hidden": 16 if job.tiny else width}
    objective = load_recipe({"model": model | {"layers": 1}}).build(VOCABULARY)
    data = random_bytes()
    batch = Batch(Inputs(tokens=data[:, :-1]), data[:, 1:])
    return timed_steps(objective, lambda: objective(batch, None).terms["loss"].total / data[:, 1:].numel(), job)


def hoisted(job: Job, width: int) -> dict[str, Any]:
    """Plain torch: products with the inputs for all steps at once, the rest step by step."""
    import torch
    from torch import Tensor, nn

    class Plain(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.embedding, self.head = nn.Embedding(VOCABULARY, EMBEDDING), nn.Linear(width, VOCABULARY)
            self.w_x, self.w_mx = nn.Linear(EMBEDDING, 4 * width), nn.Linear(EMBEDDING, width, bias=False)
            self.w_m, self.w_mh = nn.Linear(width, 4 * width, bias=False), nn.Linear(width, width, bias=False)

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.embedding(tokens.t())  # [T, B, E]
            h = c = x.new_zeros(x.shape[1], self.w_mh.in_features)
            outputs = []
            for gates, factor in zip(self.w_x(x).unbind(), self.w_mx(x).unbind(), strict=True):
                i, f, g, o = (gates + self.w_m(factor * self.w_mh(h))).chunk(4, 1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
                outputs.append(h)
            scores: Tensor = self.head(torch.stack(outputs, 1))
            return scores

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    model, data = Plain(16 if job.tiny else width), random_bytes()
    return timed_steps(
        model, lambda: nn.functional.cross_entropy(model(data[:, :-1]).flatten(0, 1), data[:, 1:].flatten()), job
    )


def random_bytes() -> Any:
    """[B, T + 1] bytes"""
    import torch

    return torch.randint(VOCABULARY, (ROWS, STEPS + 1), generator=torch.Generator().manual_seed(1))


def timed_steps(model: Any, loss: Callable[[], Any], job: Job) -> dict[str, Any]:
    """Time steps with Adam and clipping."""
    import torch

    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=5e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return timed(step, job, ROWS * STEPS)


def workload(name: str, width: int) -> Workload:
    """The workload of one width."""
    return Workload(
        name=name,
        text=f"a training step of a multiplicative LSTM of {width} units on bytes, compared with plain torch",
        work=(
            f"256 symbols, embedding 64, one multiplicative LSTM of {width} units, softmax; 32 rows x 64 random bytes "
            "from a zero state; forward, backward, clipping at 1, Adam; seconds per step"
        ),
        sides=(
            Side(OURS, partial(ours, width=width), ("torch",)),
            Side("hoisted", partial(hoisted, width=width), ("torch",)),
        ),
    )


MLSTM_STEPS = (workload("mlstm-step", 1024), workload("mlstm-step-4096", 4096))
