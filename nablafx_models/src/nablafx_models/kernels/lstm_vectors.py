"""Vectors of float32 as values of compiled code.

numba has only scalars and arrays and leaves it to the compiler to find what can be done many at a time. With these,
a kernel says so itself: LLVM keeps such a value in as many registers as its width takes on the processor at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic, models, register_model

FLOAT, INT = ir.FloatType(), ir.IntType(32)
Inlined = TypeVar("Inlined", bound=Callable[..., Any])

LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8
"""A width such that the accumulators of a product, four gates of four rows, stay in registers, or nearly so."""


class Vector(types.Type):
    """`lanes` values of float32."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Vector({lanes})")


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, _ir(vector))  # type: ignore[no-untyped-call]


def _intrinsic(function: Callable[..., Any]) -> Any:
    """A function that compiled code can call, which says the types and how to build the instructions."""
    return intrinsic(prefer_literal=True)(function)


def _ir(vector: Vector) -> ir.VectorType:
    return ir.VectorType(FLOAT, vector.lanes)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, at: Any, lanes: int) -> Any:
    element = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
    return builder.bitcast(element, ir.VectorType(FLOAT, lanes).as_pointer())


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    empty = ir.Constant(ir.VectorType(FLOAT, lanes), ir.Undefined)
    first = builder.insert_element(empty, value, INT(0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(INT, lanes), [0] * lanes))


@_intrinsic
def load(typing: Any, array: Any, at: Any, lanes: Any) -> Any:
    """``array[at : at + lanes]`` of a flat array."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        width = signature.return_type.lanes
        value = builder.load(_pointer(context, builder, signature.args[0], values[0], values[1], width))
        value.align = 4
        return value

    return Vector(lanes.literal_value)(array, types.intp, lanes), build


@_intrinsic
def store(typing: Any, array: Any, at: Any, value: Any) -> Any:
    """``array[at : at + lanes] = value``."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        width = signature.args[2].lanes
        pointer = _pointer(context, builder, signature.args[0], values[0], values[1], width)
        builder.store(values[2], pointer).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, value), build


@_intrinsic
def fill(typing: Any, number: Any, lanes: Any) -> Any:
    """A vector of one number."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _splat(builder, values[0], signature.return_type.lanes)

    return Vector(lanes.literal_value)(types.float32, lanes), build


@_intrinsic
def part(typing: Any, vector: Any, number: Any, lanes: Any) -> Any:
    """``vector[number * lanes : (number + 1) * lanes]``, both numbers constant."""
    start, width = number.literal_value * lanes.literal_value, lanes.literal_value

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        taken = ir.Constant(ir.VectorType(INT, width), list(range(start, start + width)))
        return builder.shuffle_vector(values[0], ir.Constant(_ir(vector), ir.Undefined), taken)

    return Vector(width)(vector, number, lanes), build


def _elementwise(operation: str) -> Any:
    @_intrinsic
    def apply(typing: Any, x: Any, y: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return getattr(builder, operation)(*values)

        return x(x, x), build

    return apply


def _bound(comparison: str) -> Any:
    """A minimum or a maximum that hands on what is not a number, as a plain comparison the other way would not."""

    @_intrinsic
    def apply(typing: Any, x: Any, bound: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            value, limit = values
            return builder.select(builder.fcmp_ordered(comparison, value, limit), limit, value)

        return x(x, x), build

    return apply


add, subtract, multiply, divide = (_elementwise(name) for name in ("fadd", "fsub", "fmul", "fdiv"))
at_most, at_least = _bound(">"), _bound("<")


@_intrinsic
def fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """``x * y + z``, rounded once."""

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = _ir(x)
        kinds = ir.FunctionType(kind, [kind] * 3)
        name = f"llvm.fma.v{x.lanes}f32"
        return builder.call(builder.module.declare_intrinsic(name, fnty=kinds), values)

    return x(x, x, x), build


def inlined(function: Inlined) -> Inlined:
    """Compile a function into the kernels that use it: vectors cannot be passed in registers from call to call."""
    return cast(Inlined, numba.njit(error_model="numpy", forceinline=True)(function))


_F = np.float32
_LIMIT = _F(7.99881172180175781)  # the least for which the quotient, with fused multiply-add, is exactly 1
_P = tuple(
    _F(value)
    for value in (
        -2.76076847742355e-16,
        2.00018790482477e-13,
        -8.60467152213735e-11,
        5.12229709037114e-08,
        1.48572235717979e-05,
        6.37261928875436e-04,
        4.89352455891786e-03,
    )
)
_Q = tuple(
    _F(value) for value in (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
)
_HALF = _F(0.5)


@inlined
def tanh(x: Any) -> Any:
    """Hyperbolic tangent of LANES values as a rational function of degrees 13 and 6 (Eigen's), within 3e-7."""
    x = at_least(at_most(x, fill(_LIMIT, LANES)), fill(-_LIMIT, LANES))
    x2 = multiply(x, x)
    p = fma(x2, fill(_P[0], LANES), fill(_P[1], LANES))
    p = fma(x2, p, fill(_P[2], LANES))
    p = fma(x2, p, fill(_P[3], LANES))
    p = fma(x2, p, fill(_P[4], LANES))
    p = fma(x2, p, fill(_P[5], LANES))
    p = fma(x2, p, fill(_P[6], LANES))
    q = fma(x2, fill(_Q[0], LANES), fill(_Q[1], LANES))
    q = fma(x2, q, fill(_Q[2], LANES))
    q = fma(x2, q, fill(_Q[3], LANES))
    return divide(multiply(x, p), q)


@inlined
def sigmoid(x: Any) -> Any:
    """``1 / (1 + exp(-x))`` of LANES values, within 2e-7."""
    half = fill(_HALF, LANES)
    return fma(tanh(multiply(x, half)), half, half)
