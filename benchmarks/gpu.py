"""Benchmark of a GPU in under ten minutes: correctness of kernels and models, speed of training steps.

    python benchmarks/gpu.py --out gpu.json            on a machine with one GPU
    python benchmarks/gpu.py --device cpu --tiny       a smoke test anywhere

Prints one table and writes one JSON file. `gpu_checks.py` and `gpu_speeds.py` define what is measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from gpu_checks import checks
from gpu_plan import Plan, Record
from gpu_speeds import output_layers, scans, speeds
from rich.console import Console
from rich.table import Table

from foretell.artifacts import write_json


def floors(plan: Plan) -> Record:
    """Limits of the device: GB/s of a copy, TFLOP/s of a large product, which are the peaks of `speeds`."""
    size = 2**16 if plan.tiny else 2**28
    source, target = (torch.rand(size, device=plan.device) for _ in range(2))
    limits: Record = {"copy GB/s": 8 * size / plan.seconds(lambda: target.copy_(source), 20) / 1e9}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        limits[f"{name} TFLOP/s"] = max(product(width, dtype, plan) for width in ((64,) if plan.tiny else (4096, 8192)))
    return limits


def product(width: int, dtype: torch.dtype, plan: Plan) -> float:
    """TFLOP/s of a product of square matrices."""
    left, right = (torch.randn(width, width, device=plan.device, dtype=dtype) for _ in range(2))
    return 2 * width**3 / plan.seconds(lambda: left @ right, 20) / 1e12


def measure(plan: Plan) -> Record:
    """Run all checks and measurements."""
    name = torch.cuda.get_device_name() if plan.device.type == "cuda" else "cpu"
    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "cuda": torch.version.cuda}
    result: Record = {"device": name, "versions": versions, "tiny": plan.tiny, "floors": floors(plan)}
    result["checks"] = list(checks(plan))
    result["speeds"] = [*speeds(plan, result["floors"]), *output_layers(plan, result["floors"])]
    result["scans"] = list(scans(plan))
    return result | {"seconds": time.monotonic() - plan.begun}


def render(result: Record) -> Table:
    """One table: failed checks, then speeds."""
    wrong = [check for check in result["checks"] if not check["right"]]
    passed = f"{len(result['checks']) - len(wrong)} of {len(result['checks'])} checks passed"
    limits = ", ".join(f"{name}: {value:,.1f}" for name, value in result["floors"].items())
    columns = ("work", "precision", "side", "ms", "tokens/s", "TFLOP/s", "of peak", "memory")
    table = Table(*columns, title=f"{passed}; {limits}")
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
    """Share of the device's peak, in brackets without attention."""
    whole, plain = item.get("share_of_peak"), item.get("share_of_peak_without_attention")
    return "" if whole is None else f"{whole:.0%}" + ("" if plain in (None, whole) else f" ({plain:.0%})")


def main() -> None:
    """Measure, print, write; exit with 1 if a check fails."""
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
