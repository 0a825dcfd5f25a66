"""What a process is told at its start."""

import subprocess
import sys

OPTIMISE = """
import sys
from foretell.process import prepare_process
prepare_process()
import torch
weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.AdamW([weight])
weight.sum().backward()
optimizer.step()
optimizer.zero_grad()
assert weight.max() < 1
print("compiler" if "sympy" in sys.modules else "plain")
import torch._dynamo.config
from torch._dynamo import graph_break
print("compiler" if "sympy" in sys.modules and sys.modules["torch._dynamo"].__file__ else "plain")
print(torch._dynamo.config is torch._dynamo.config.__class__ or hasattr(torch._dynamo, "optimize"))
"""


def test_the_compiler_is_loaded_when_it_is_asked_for_and_not_before() -> None:
    done = subprocess.run([sys.executable, "-c", OPTIMISE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["plain", "compiler", "True"]


def test_the_command_line_keeps_pythons_below_it_out_of_the_current_folder() -> None:
    code = "from foretell.process import prepare_process as p; p(); import os; print(os.environ['PYTHONSAFEPATH'])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
