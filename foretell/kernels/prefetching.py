"""Memory that is asked for ahead of its use, for loops compiled by numba over tables that no cache holds."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def prefetch(context: Any, array: Any, place: Any) -> Any:
    """Ask for the cache line of `array[place]`; `place` is a tuple of indices, one per dimension, none below 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = context.make_array(array)(context, builder, arguments[0])
        places = cgutils.unpack_tuple(builder, arguments[1])
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.bitcast(cgutils.get_item_pointer(context, builder, array, values, places), pointer)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        reading, near, data = number(0), number(3), number(1)
        builder.call(function, [address, reading, near, data])
        return context.get_dummy_value()

    return types.void(array, place), generate
