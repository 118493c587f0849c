"""Vectors of float32 as values in numba code, which keep sums in registers where the compiler alone would not.

Kernels with them are as fast as C intrinsics, and run on any processor: LLVM splits a vector that is wider than a
register into several.

    @compiled
    def scaled_sum(x, y, gain):  # float32, 1-D and contiguous; gain has one element; the last len(x) % 16 are ignored
        total = full(np.float32(0), 16)
        for start in range(0, x.shape[0] - 15, 16):
            total = fma(broadcast(gain, 0, 16), add(load(x, start, 16), load(y, start, 16)), total)
        return sum_of(total)

The number of lanes must be a constant. Indices are not checked, and negative indices do not count from the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, register_model

_FLOAT = ir.FloatType()

#: Number of floats in a vector register of this processor; without avx512, in one of 256 bits or two of 128.
REGISTER_LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8


class Vector(types.Type):
    """Type of a vector in numba.

    Args:
        lanes: number of elements.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Vector({lanes} x float32)")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, _llvm(vector))  # type: ignore[no-untyped-call]


def _emitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that emits LLVM instructions callable from numba code; it sees constants as literals."""
    return cast(Callable[..., Any], intrinsic(prefer_literal=True)(function))


def _llvm(vector: Vector) -> Any:
    return ir.VectorType(_FLOAT, vector.lanes)


def _check(array: Any) -> None:
    if not isinstance(array, types.Array) or (array.dtype, array.ndim, array.layout) != (types.float32, 1, "C"):
        raise TypingError(f"expected a contiguous 1-D array of float32, got {array}.")


def _of(lanes: Any) -> Any:
    """Return the type of a vector with a number of lanes."""
    if not isinstance(lanes, types.IntegerLiteral):
        raise TypingError(f"the number of lanes must be a constant, got {lanes}.")
    return Vector(lanes.literal_value)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _call(builder: Any, name: str, result: Any, *arguments: Any, **flags: Any) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
    return builder.call(function, arguments, **flags)


def _splat(builder: Any, scalar: Any, lanes: int) -> Any:
    undefined = ir.Constant(ir.VectorType(_FLOAT, lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


@_emitted
def load(_: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Return array[index : index + lanes] of a contiguous 1-D float32 array, which need not be aligned."""
    _check(array)
    vector = _of(lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        value = builder.load(builder.bitcast(pointer, _llvm(signature.return_type).as_pointer()))
        value.align = 4
        return value

    return vector(array, types.intp, lanes), generate


@_emitted
def store(_: Any, array: Any, index: Any, vector: Any) -> Any:
    """Set array[index : index + lanes] = vector, in a contiguous 1-D float32 array, which need not be aligned."""
    _check(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], builder.bitcast(pointer, _llvm(signature.args[2]).as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@_emitted
def broadcast(_: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Return a vector with array[index] of a contiguous 1-D float32 array in every lane."""
    _check(array)
    vector = _of(lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        scalar = builder.load(_pointer(context, builder, signature.args[0], *arguments[:2]))
        return _splat(builder, scalar, signature.return_type.lanes)

    return vector(array, types.intp, lanes), generate


@_emitted
def full(_: Any, scalar: Any, lanes: Any) -> Any:
    """Return a vector with a float32 in every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0], signature.return_type.lanes)

    return _of(lanes)(types.float32, lanes), generate


@_emitted
def part(_: Any, vector: Any, number: Any, lanes: Any) -> Any:
    """Return vector[number * lanes : (number + 1) * lanes]; the number must be a constant too."""
    taken = _of(lanes)
    if not isinstance(vector, Vector) or not isinstance(number, types.IntegerLiteral):
        raise TypingError(f"expected a vector and the constant number of a part, got {vector} and {number}.")
    first = number.literal_value * taken.lanes
    if not 0 <= first <= vector.lanes - taken.lanes:
        raise TypingError(f"{vector} has no part {number.literal_value} of {taken.lanes} lanes.")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        places = ir.Constant(ir.VectorType(ir.IntType(32), taken.lanes), list(range(first, first + taken.lanes)))
        return builder.shuffle_vector(arguments[0], ir.Constant(_llvm(vector), ir.Undefined), places)

    return taken(vector, number, lanes), generate


def _elementwise(operands: int, emit: Callable[..., Any], meaning: str) -> Any:
    """Make an intrinsic function from vectors to a vector, all of one type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit(builder, *arguments)

    def result(*vectors: Any) -> Any:
        if any(vector != vectors[0] or not isinstance(vector, Vector) for vector in vectors):
            raise TypingError(f"expected vectors of the same width, got {', '.join(map(str, vectors))}.")
        return vectors[0](*vectors), generate

    def one(_: Any, x: Any) -> Any:
        return result(x)

    def two(_: Any, x: Any, y: Any) -> Any:
        return result(x, y)

    def three(_: Any, x: Any, y: Any, z: Any) -> Any:
        return result(x, y, z)

    typed = (one, two, three)[operands - 1]
    typed.__doc__ = meaning
    return _emitted(typed)


def _chosen(comparison: str) -> Callable[..., Any]:
    return lambda builder, x, y: builder.select(builder.fcmp_ordered(comparison, x, y), x, y)


def _fma(builder: Any, x: Any, y: Any, z: Any) -> Any:
    return _call(builder, f"llvm.fma.v{x.type.count}f32", x.type, x, y, z)


# Numerator and denominator as polynomials in x^2, the highest power first.
_TANH_ODD = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_TANH_EVEN = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
# Smallest number for which the quotient, with fused multiply-add, is exactly 1; below it, it is never above 1.
_TANH_LIMIT = 7.99881172180175781


def _tanh(builder: Any, x: Any) -> Any:
    def constant(value: float) -> Any:
        return ir.Constant(x.type, [float(np.float32(value))] * x.type.count)

    def polynomial(square: Any, coefficients: tuple[float, ...]) -> Any:
        total = constant(coefficients[0])
        for coefficient in coefficients[1:]:
            total = _fma(builder, square, total, constant(coefficient))
        return total

    x = _chosen("<")(builder, constant(_TANH_LIMIT), x)
    x = _chosen(">")(builder, constant(-_TANH_LIMIT), x)
    square = builder.fmul(x, x)
    return builder.fdiv(builder.fmul(x, polynomial(square, _TANH_ODD)), polynomial(square, _TANH_EVEN))


def _sigmoid(builder: Any, x: Any) -> Any:
    half = ir.Constant(x.type, [0.5] * x.type.count)
    return _fma(builder, _tanh(builder, builder.fmul(x, half)), half, half)


add = _elementwise(2, lambda builder, x, y: builder.fadd(x, y), "Return x + y.")
sub = _elementwise(2, lambda builder, x, y: builder.fsub(x, y), "Return x - y.")
mul = _elementwise(2, lambda builder, x, y: builder.fmul(x, y), "Return x y.")
div = _elementwise(2, lambda builder, x, y: builder.fdiv(x, y), "Return x / y.")
fma = _elementwise(3, _fma, "Return x y + z, rounded once.")
minimum = _elementwise(2, _chosen("<"), "Return the smaller of x and y; y if one of them is NaN.")
maximum = _elementwise(2, _chosen(">"), "Return the larger of x and y; y if one of them is NaN.")
tanh = _elementwise(
    1,
    _tanh,
    "Return tanh(x) by a rational function of degrees 13 and 6 (that of Eigen), within 3e-7, and never outside "
    "-1 to 1; NaN stays NaN.",
)
sigmoid = _elementwise(1, _sigmoid, "Return 1 / (1 + exp(-x)), computed by `tanh`, within 2e-7.")


def _larger(builder: Any, x: Any, y: Any) -> Any:
    larger = builder.select(builder.fcmp_unordered(">", y, x), y, x)
    return builder.select(builder.fcmp_unordered("uno", x, x), x, larger)


larger = _elementwise(2, _larger, "Return the larger of x and y; NaN if one of them is NaN.")


@_emitted
def sum_of(_: Any, vector: Any) -> Any:
    """Return the sum of all lanes, added in an order that LLVM chooses, as a float32."""
    if not isinstance(vector, Vector):
        raise TypingError(f"expected a vector, got {vector}.")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name, zero = f"llvm.vector.reduce.fadd.v{vector.lanes}f32", ir.Constant(_FLOAT, 0.0)
        return _call(builder, name, _FLOAT, zero, arguments[0], fastmath=("reassoc",))

    return types.float32(vector), generate
