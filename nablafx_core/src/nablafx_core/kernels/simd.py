"""Vectors of float32 as values in numba code, which keep sums in registers where the compiler would not by itself.

A kernel written with them runs at the speed of C intrinsics and on any processor: LLVM splits a vector that is wider
than a register over several.

    @compiled
    def scaled_sum(x, y, gain):  # x and y: 1-D, contiguous
        total = full(np.float32(0), 16)
        for start in range(0, x.shape[0] - 15, 16):
            total = fma(broadcast(gain, 0, 16), add(load(x, start, 16), load(y, start, 16)), total)
        return sum_of(total)

The number of lanes is a constant. Nothing looks whether an index is inside its array, and none counts from the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, register_model

from nablafx_core.kernels.compiled import inlined

_FLOAT = ir.FloatType()

#: Floats in a vector register of this processor; without avx512 in one of 256 bits, or two of 128.
REGISTER_LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8


class Vector(types.Type):
    """The numba type of a vector.

    Args:
        lanes: its number of elements.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Vector({lanes} x float32)")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, _llvm(vector))  # type: ignore[no-untyped-call]


def _emitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numba code that LLVM's instructions are written for; constants are known to it as such."""
    return cast(Callable[..., Any], intrinsic(prefer_literal=True)(function))


def _llvm(vector: Vector) -> Any:
    return ir.VectorType(_FLOAT, vector.lanes)


def _check(array: Any) -> None:
    if not isinstance(array, types.Array) or (array.dtype, array.ndim, array.layout) != (types.float32, 1, "C"):
        raise TypingError(f"a vector is in a contiguous 1-D array of float32, not in {array}.")


def _of(lanes: Any) -> Any:
    """The vector of so many lanes."""
    if not isinstance(lanes, types.IntegerLiteral):
        raise TypingError(f"the lanes of a vector are a constant, not {lanes}.")
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
    """array[index : index + lanes] of a contiguous 1-D float32 array, which needs no alignment."""
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
    """array[index : index + lanes] = vector."""
    _check(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], builder.bitcast(pointer, _llvm(signature.args[2]).as_pointer())).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@_emitted
def broadcast(_: Any, array: Any, index: Any, lanes: Any) -> Any:
    """array[index] in every lane."""
    _check(array)
    vector = _of(lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        scalar = builder.load(_pointer(context, builder, signature.args[0], *arguments[:2]))
        return _splat(builder, scalar, signature.return_type.lanes)

    return vector(array, types.intp, lanes), generate


@_emitted
def full(_: Any, scalar: Any, lanes: Any) -> Any:
    """A number in every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[0], signature.return_type.lanes)

    return _of(lanes)(types.float32, lanes), generate


def _elementwise(operands: int, emit: Callable[..., Any], meaning: str) -> Any:
    """An intrinsic from vectors to a vector, all of one type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit(builder, *arguments)

    def result(*vectors: Any) -> Any:
        if any(vector != vectors[0] or not isinstance(vector, Vector) for vector in vectors):
            raise TypingError(f"vectors of one width are needed, not {', '.join(map(str, vectors))}.")
        return vectors[0](*vectors), generate

    def two(_: Any, x: Any, y: Any) -> Any:
        return result(x, y)

    def three(_: Any, x: Any, y: Any, z: Any) -> Any:
        return result(x, y, z)

    typed = two if operands == 2 else three
    typed.__doc__ = meaning
    return _emitted(typed)


def _chosen(comparison: str) -> Callable[..., Any]:
    return lambda builder, x, y: builder.select(builder.fcmp_ordered(comparison, x, y), x, y)


def _fma(builder: Any, x: Any, y: Any, z: Any) -> Any:
    return _call(builder, f"llvm.fma.v{x.type.count}f32", x.type, x, y, z)


add = _elementwise(2, lambda builder, x, y: builder.fadd(x, y), "x + y.")
sub = _elementwise(2, lambda builder, x, y: builder.fsub(x, y), "x - y.")
mul = _elementwise(2, lambda builder, x, y: builder.fmul(x, y), "x y.")
div = _elementwise(2, lambda builder, x, y: builder.fdiv(x, y), "x / y.")
fma = _elementwise(3, _fma, "x y + z, rounded once.")
minimum = _elementwise(2, _chosen("<"), "The smaller one; y where one of them is not a number.")
maximum = _elementwise(2, _chosen(">"), "The larger one; y where one of them is not a number.")


@_emitted
def sum_of(_: Any, vector: Any) -> Any:
    """The sum of all lanes, in pairs, as a float32."""
    if not isinstance(vector, Vector):
        raise TypingError(f"a vector is needed, not {vector}.")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name, zero = f"llvm.vector.reduce.fadd.v{vector.lanes}f32", ir.Constant(_FLOAT, 0.0)
        return _call(builder, name, _FLOAT, zero, arguments[0], fastmath=("reassoc",))

    return types.float32(vector), generate


@_emitted
def _like(_: Any, scalar: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, context.cast(builder, arguments[0], signature.args[0], types.float32), vector.lanes)

    return vector(scalar, vector), generate


_TANH_LIMIT = np.float32(7.90531110763549805)  # where float32 is 1
_TANH_1, _TANH_3, _TANH_5, _TANH_7, _TANH_9, _TANH_11, _TANH_13 = (
    np.float32(c)
    for c in (
        4.89352455891786e-03,
        6.37261928875436e-04,
        1.48572235717979e-05,
        5.12229709037114e-08,
        -8.60467152213735e-11,
        2.00018790482477e-13,
        -2.76076847742355e-16,
    )
)
_TANH_Q0, _TANH_Q2, _TANH_Q4, _TANH_Q6 = (
    np.float32(c) for c in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
)


@inlined
def tanh(x: Any) -> Any:
    """tanh as a rational function of degrees 13 and 6 (that of Eigen), within 3e-7; not a number stays that."""
    x = maximum(_like(-_TANH_LIMIT, x), minimum(_like(_TANH_LIMIT, x), x))
    x2 = mul(x, x)
    p = fma(x2, _like(_TANH_13, x), _like(_TANH_11, x))
    p = fma(x2, p, _like(_TANH_9, x))
    p = fma(x2, p, _like(_TANH_7, x))
    p = fma(x2, p, _like(_TANH_5, x))
    p = fma(x2, p, _like(_TANH_3, x))
    p = fma(x2, p, _like(_TANH_1, x))
    q = fma(x2, _like(_TANH_Q6, x), _like(_TANH_Q4, x))
    q = fma(x2, q, _like(_TANH_Q2, x))
    q = fma(x2, q, _like(_TANH_Q0, x))
    return div(mul(x, p), q)


@inlined
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) by `tanh`, within 2e-7."""
    half = _like(np.float32(0.5), x)
    return fma(tanh(mul(x, half)), half, half)
