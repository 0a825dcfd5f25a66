"""Training steps of AWD-LSTM (arXiv:1708.02182) at its Penn Treebank size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from foretell.bench.workloads.workload import OURS, Job, Side, Workload, random_tokens, timed, trainer_of

VOCABULARY, EMBEDDING, HIDDEN, LAYERS = 10_000, 400, 1150, 3
ROWS, STEPS, WINDOWS = 20, 70, 8


def sizes(job: Job) -> tuple[int, int, int]:
    """Vocabulary, embedding and hidden width."""
    return (50, 8, 12) if job.tiny else (VOCABULARY, EMBEDDING, HIDDEN)


def ours(job: Job) -> dict[str, Any]:
    """foretell's trainer on the shipped recipe."""
    import torch

    torch.set_num_threads(job.threads)
    trainer = make_trainer(job)
    return timed(lambda: trainer.step(trainer.progress()), job, ROWS * STEPS)


def make_trainer(job: Job, device: str = "cpu", precision: str = "fp32") -> Any:
    """A trainer for the shipped recipe on random tokens, with windows of constant length."""
    from foretell.recipe.loading import load_recipe

    vocabulary, embedding, hidden = sizes(job)
    settings = {"embedding_dim": embedding, "hidden": hidden, "output": embedding}
    overrides = {f"model.{key}": value for key, value in settings.items()}
    recipe = load_recipe("awd-lstm-ptb", {"data.batches.jitter": 0.0, "training.precision": precision} | overrides)
    return trainer_of(recipe, vocabulary, random_tokens(vocabulary, ROWS * STEPS * WINDOWS), device)


def fastai(job: Job) -> dict[str, Any]:
    """fastai's AWD_LSTM with the same dropouts and regularisers, in a plain loop."""
    import torch
    from fastai.text.models.awdlstm import AWD_LSTM
    from fastai.text.models.core import get_language_model

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    vocabulary, embedding, hidden = sizes(job)
    config = {
        "emb_sz": embedding,
        "n_hid": hidden,
        "n_layers": LAYERS,
        "pad_token": 1,
        "bidir": False,
        "tie_weights": True,
        "out_bias": True,
        "output_p": 0.4,
        "hidden_p": 0.25,
        "input_p": 0.4,
        "embed_p": 0.1,
        "weight_p": 0.5,
    }
    return timed(regularised_step(get_language_model(AWD_LSTM, vocabulary, config), vocabulary), job, ROWS * STEPS)


def plain(job: Job) -> dict[str, Any]:
    """A stack of torch.nn.LSTM with plain dropout in a plain loop: no weight dropout, so slightly less work."""
    import torch
    from torch import Tensor, nn

    class Stack(nn.Module):
        def __init__(self, vocabulary: int, embedding: int, hidden: int) -> None:
            super().__init__()
            widths = [embedding, *[hidden] * (LAYERS - 1), embedding]
            self.embedding = nn.Embedding(vocabulary, embedding)
            self.layers = nn.ModuleList(nn.LSTM(widths[i], widths[i + 1], batch_first=True) for i in range(LAYERS))
            self.dropouts = nn.ModuleList(nn.Dropout(rate) for rate in (0.4, 0.25, 0.25, 0.4))
            self.head = nn.Linear(embedding, vocabulary)
            self.head.weight = self.embedding.weight
            self.state: list[Any] = [None] * LAYERS

        def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            x = self.dropouts[0](self.embedding(tokens))
            for i, layer in enumerate(self.layers):
                raw, (h, c) = layer(x, self.state[i])
                self.state[i] = (h.detach(), c.detach())
                x = self.dropouts[i + 1](raw)
            return self.head(x), raw, x

    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    return timed(regularised_step(Stack(*sizes(job)), sizes(job)[0]), job, ROWS * STEPS)


def regularised_step(model: Any, vocabulary: int) -> Callable[[], Any]:
    """A training step with AR, TAR, clipping and SGD; the model returns scores and its last layer before and after
    dropout."""
    import torch
    import torch.nn.functional as F

    optimizer = torch.optim.SGD(model.parameters(), lr=30.0, weight_decay=1.2e-6)
    random = torch.Generator().manual_seed(1)
    data = torch.randint(0, vocabulary, (ROWS, STEPS * WINDOWS + 1), generator=random)
    model.train()
    done = 0

    def step() -> None:
        nonlocal done
        begin = done % WINDOWS * STEPS
        done += 1
        optimizer.zero_grad(set_to_none=True)
        scores, raw, dropped = model(data[:, begin : begin + STEPS])
        loss = F.cross_entropy(scores.flatten(0, 1), data[:, begin + 1 : begin + STEPS + 1].flatten())
        loss = loss + 2.0 * dropped.square().mean() + 1.0 * (raw[:, 1:] - raw[:, :-1]).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()

    return step


AWD_LSTM_STEP = Workload(
    name="awd-lstm-step",
    text="a training step of AWD-LSTM at its Penn Treebank size, compared with fastai and torch.nn.LSTM",
    work=(
        "vocabulary 10,000, embedding 400, LSTMs 400 to 1150 to 1150 to 400, tied head with bias, 20 rows x 70 random "
        "tokens with carried state; forward, backward, AR and TAR, clipping at 0.25, SGD with weight decay; seconds "
        "per step"
    ),
    sides=(Side(OURS, ours, ("torch",)), Side("fastai", fastai, ("fastai", "torch")), Side("torch", plain, ("torch",))),
)
