"""LAMB over parameters that two processes share out is LAMB over whole ones: norms are those of whole tensors."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing, nn

from foretell.optim.lamb import LAMB, Variant

SHAPES = [(6, 5), (5,), (1, 3), (4, 2, 2)]  # not all of which two processes can share equally


def draws(seed: int) -> Iterator[Tensor]:
    random = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=random) for shape in SHAPES)


def train(variant: Variant, place: Callable[[Tensor], Tensor]) -> list[nn.Parameter]:
    parameters = [nn.Parameter(place(weight)) for weight in draws(0)]
    optimizer = LAMB(parameters, lr=0.1, weight_decay=0.02, variant=variant)
    for step in range(3):
        for parameter, gradient in zip(parameters, draws(1 + step), strict=True):
            parameter.grad = place(gradient)
        optimizer.step()
    return parameters


def sharded(rank: int, folder: str) -> None:
    """What each process does: all variants on tensors cut along their first dimension."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    ends = {}
    for variant in get_args(Variant):
        found = train(variant, lambda tensor: distribute_tensor(tensor, mesh, [Shard(0)]))
        ends[variant] = [parameter.full_tensor().detach() for parameter in found]
    if rank == 0:
        torch.save(ends, f"{folder}/ends.pt")
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="needs torch.distributed with gloo")
def test_two_processes_step_like_one(tmp_path: Path) -> None:
    multiprocessing.start_processes(sharded, (str(tmp_path),), nprocs=2, start_method="forkserver")
    for variant, found in torch.load(tmp_path / "ends.pt").items():
        for mine, other in zip(found, train(variant, lambda tensor: tensor), strict=True):
            torch.testing.assert_close(mine, other.detach(), rtol=1e-5, atol=1e-6)
