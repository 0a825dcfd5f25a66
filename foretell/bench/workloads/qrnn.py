"""A QRNN layer (arXiv:1611.01576) at the size of its WikiText-103 model, and its pooling alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from foretell.bench.workloads.workload import OURS, Job, Side, Workload, timed

STEPS, ROWS, WIDTH = 140, 40, 1550


def shape(job: Job) -> tuple[int, int, int]:
    """Steps, rows and width."""
    return (7, 2, 3) if job.tiny else (STEPS, ROWS, WIDTH)


def both_ways(forward: Callable[..., Any], wanted: list[Any], outputs: int, job: Job) -> dict[str, Any]:
    """Seconds of forward and backward with a random gradient.

    `forward` maps the tensors `wanted`, the first of which is [T, B, D], to [T, B, outputs].
    """
    import torch

    steps, rows, _ = wanted[0].shape
    direction = torch.randn(steps, rows, outputs)

    def step() -> None:
        for tensor in wanted:
            tensor.grad = None
        forward(*wanted).backward(direction)

    return timed(step, job, steps * rows)


def draw(job: Job) -> Any:
    """Random inputs [T, B, D] that require a gradient; sets the number of threads."""
    import torch

    torch.set_num_threads(job.threads)
    return torch.randn(*shape(job), requires_grad=True)


# --- the layer ------------------------------------------------------------------------------------


def our_layer(window: int, job: Job) -> dict[str, Any]:
    """foretell's layer, from zero states."""
    from foretell.nn.recurrent.qrnn import QRNN

    inputs = draw(job)
    layer = QRNN(inputs.shape[2], inputs.shape[2], window=window)

    def forward(x: Any) -> Any:
        outputs, _ = layer(x.transpose(0, 1), layer.initial(x.shape[1]))
        return outputs.transpose(0, 1)

    return both_ways(with_parameters(forward, layer), [inputs, *layer.parameters()], layer.output, job)


def bare_products(window: int, job: Job) -> dict[str, Any]:
    """The matrix products of the layer alone: F.linear of inputs of the window's width, forward and backward."""
    import torch
    import torch.nn.functional as F

    inputs = draw(job)
    width = inputs.shape[2]
    wide = torch.randn(*inputs.shape[:2], window * width, requires_grad=True)
    weight = torch.randn(3 * width, window * width, requires_grad=True)
    bias = torch.randn(3 * width, requires_grad=True)
    return both_ways(F.linear, [wide, weight, bias], 3 * width, job)


def lstm_layer(job: Job) -> dict[str, Any]:
    """torch.nn.LSTM of that size; independent of the window."""
    import torch

    inputs = draw(job)
    layer = torch.nn.LSTM(inputs.shape[2], inputs.shape[2])
    return both_ways(with_parameters(lambda x: layer(x)[0], layer), [inputs, *layer.parameters()], inputs.shape[2], job)


def with_parameters(forward: Callable[[Any], Any], layer: Any) -> Callable[..., Any]:
    """`forward` with the parameters as further arguments, which it ignores: the layer holds them."""
    return lambda inputs, *parameters: forward(inputs)


def qrnn_layer(window: int) -> Workload:
    """The workload of one window."""
    return Workload(
        name="qrnn-layer" if window == 1 else f"qrnn-layer-{window}",
        text=f"a QRNN layer of window {window}, compared with torch.nn.LSTM and with its matrix products alone",
        work=(
            f"140 steps x 40 rows, 1550 inputs and units, window {window}, fo-pooling from zero states; forward and "
            "backward with gradients of inputs and weights; products: only F.linear of the same shapes"
        ),
        sides=(
            Side(OURS, partial(our_layer, window), ("torch",)),
            Side("products", partial(bare_products, window), ("torch",)),
            Side("torch", lstm_layer, ("torch",)),
        ),
    )


# --- the pooling ----------------------------------------------------------------------------------


def our_pool(job: Job) -> dict[str, Any]:
    """foretell's pooling."""
    from foretell.kernels.scan import forget_pool

    return timed_pool(forget_pool, job)


def our_scan(job: Job) -> dict[str, Any]:
    """The pooling computed by foretell's linear scan."""
    from foretell.kernels.scan import linear_scan

    return timed_pool(lambda f, z: linear_scan(f, (1 - f) * z), job)


def torch_loop(job: Job) -> dict[str, Any]:
    """A loop over steps under autograd."""
    import torch

    def pool(f: Any, z: Any) -> Any:
        h, states = torch.zeros_like(z[0]), []
        for forget, update in zip(f.unbind(), z.unbind(), strict=True):
            h = torch.lerp(update, h, forget)
            states.append(h)
        return torch.stack(states)

    return timed_pool(pool, job)


def timed_pool(pool: Callable[..., Any], job: Job) -> dict[str, Any]:
    """Time a pooling of random forget gates and candidates."""
    import torch

    candidates = draw(job)
    return both_ways(pool, [torch.rand(*shape(job), requires_grad=True), candidates], shape(job)[2], job)


def numba_loop(job: Job) -> dict[str, Any]:
    """Compiled loops over time for blocks of columns, on all threads."""
    import numba
    import numpy as np
    import torch

    numba.set_num_threads(job.threads)
    block = 1024

    @numba.njit(parallel=True, fastmath=True)  # type: ignore[untyped-decorator]
    def forward(f: Any, z: Any, h: Any) -> None:
        for part in numba.prange((f.shape[1] + block - 1) // block):
            begin, end = part * block, min(f.shape[1], (part + 1) * block)
            state = np.zeros(end - begin, f.dtype)
            for t in range(f.shape[0]):
                for i in range(begin, end):
                    state[i - begin] = z[t, i] + f[t, i] * (state[i - begin] - z[t, i])
                    h[t, i] = state[i - begin]

    @numba.njit(parallel=True, fastmath=True)  # type: ignore[untyped-decorator]
    def backward(f: Any, z: Any, h: Any, upstream: Any, grad_f: Any, grad_z: Any) -> None:
        for part in numba.prange((f.shape[1] + block - 1) // block):
            begin, end = part * block, min(f.shape[1], (part + 1) * block)
            carry = np.zeros(end - begin, f.dtype)
            for t in range(f.shape[0] - 1, -1, -1):
                for i in range(begin, end):
                    grad = upstream[t, i] + carry[i - begin]
                    before = h[t - 1, i] if t > 0 else f.dtype.type(0)
                    carry[i - begin] = grad * f[t, i]
                    grad_f[t, i] = grad * (before - z[t, i])
                    grad_z[t, i] = grad - carry[i - begin]

    def flat(tensor: Any) -> Any:
        return tensor.detach().contiguous().view(len(tensor), -1).numpy()

    class Pool(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, f: Any, z: Any) -> Any:
            h = torch.empty_like(z)
            forward(flat(f), flat(z), flat(h))
            ctx.save_for_backward(f, z, h)
            return h

        @staticmethod
        def backward(ctx: Any, *upstream: Any) -> Any:
            f, z, h = ctx.saved_tensors
            grads = torch.empty_like(f), torch.empty_like(z)
            backward(flat(f), flat(z), flat(h), flat(upstream[0]), *map(flat, grads))
            return grads

    return timed_pool(Pool.apply, job)


QRNN_LAYERS = (qrnn_layer(1), qrnn_layer(2))
SCAN = Workload(
    name="scan",
    text="the QRNN's pooling alone, compared with loops of numba and torch",
    work=(
        "h = f h + (1 - f) z over 140 steps x 40 rows x 1550 columns from zeros; forward and backward with the "
        "gradients of f and z; linear-scan: foretell's scan of f and (1 - f) z"
    ),
    sides=(
        Side(OURS, our_pool, ("torch",)),
        Side("linear-scan", our_scan, ("torch",)),
        Side("numba", numba_loop, ("numba", "torch")),
        Side("torch", torch_loop, ("torch",)),
    ),
)
