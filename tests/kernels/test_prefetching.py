"""Memory asked for ahead of its use: nothing changes but the time, and the code asks."""

import numpy as np
from numba import njit

from foretell.kernels.prefetching import prefetch


@njit
def total(table: np.ndarray, rows: np.ndarray) -> float:
    found = 0.0
    for row in rows:
        prefetch(table, (row, 1))
        found += table[row, 1]
    return found


def test_a_loop_that_fetches_ahead() -> None:
    table, rows = np.arange(12.0).reshape(4, 3), np.array([3, 0, 3])
    assert total(table, rows) == 10 + 1 + 10
    assert "llvm.prefetch" in next(iter(total.inspect_llvm().values()))
