"""A cascade of second-order sections and its adjoint on the CPU, sample by sample.

Each section is a transposed direct form II with coefficients (b0, b1, b2, a1, a2), a0 = 1::

    y = b0 x + z1;   z1' = b1 x - a1 y + z2;   z2' = b2 x - a2 y

State and arithmetic are float64 for any audio: the poles of a low, sharp filter are too close to the unit circle for
float32.

All sections are in one loop over the samples, so that the latency of one section is hidden by the work of the others. A
kernel is compiled for each number of sections, so that their states stay in registers, the two values of a section in
one vector. The arithmetic of a section is three instructions, written out explicitly so that a sample is rounded the
same way however the signal is cut into blocks.

Subnormal numbers (a tail that decays in silence) are flushed to zero while a kernel runs on x86 processors, which are
slow with them. Other processors are not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.extending import intrinsic, models, register_model

from nablafx_core.kernels.compiled import compiled

#: Largest number of sections of one kernel: their coefficients and states must fit into registers and the nearest
#: cache.
MOST_SECTIONS = 8

#: Number of samples for which the backward pass recomputes the signals between the sections. They fit into the nearest
#: cache; only the states at the start of each segment are kept.
SEGMENT = 256

_replaced = cast(Callable[..., Any], tuple_setitem)
_INT = ir.IntType(32)
_DOUBLE = ir.DoubleType()
_PAIR = ir.VectorType(_DOUBLE, 2)
_FLUSH = 0x8040  # bits of MXCSR: flush subnormal results to zero, and read subnormal operands as zero


def _intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    return cast(Callable[..., Any], intrinsic(prefer_literal=True)(function))


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
    return builder.call(function, arguments)


def _twice(builder: Any, scalar: Any) -> Any:
    undefined = ir.Constant(_PAIR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, _INT(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INT, 2), [0, 0]))


class _Pair(types.Type):
    """Numba type of the state of a section, (z1, z2), as one vector."""

    def __init__(self) -> None:
        super().__init__(name="Pair(float64)")


@register_model(_Pair)
class _PairModel(models.PrimitiveModel):
    def __init__(self, manager: Any, pair: _Pair) -> None:
        super().__init__(manager, pair, _PAIR)  # type: ignore[no-untyped-call]


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    first = builder.gep(context.make_array(kind)(context, builder, array).data, [index])
    return builder.bitcast(first, _PAIR.as_pointer())


@_intrinsic
def _memories(_: Any, array: Any, sections: Any) -> Any:
    """Load the states of a constant number of sections from the start of an array, as a tuple of pairs."""
    pairs = types.UniTuple(_Pair(), sections.literal_value)  # type: ignore[no-untyped-call]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loaded = []
        for section in range(sections.literal_value):
            place = _place(context, builder, signature.args[0], arguments[0], _INT(2 * section))
            loaded.append(builder.load(place))
            loaded[-1].align = 8
        return cgutils.pack_array(builder, loaded)  # type: ignore[no-untyped-call]

    return pairs(array, sections), generate


@_intrinsic
def _keep(_: Any, array: Any, index: Any, pair: Any) -> Any:
    """Write a pair to array[index] and array[index + 1]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature.args[0], arguments[0], arguments[1])
        builder.store(arguments[2], place).align = 8
        return context.get_dummy_value()

    return types.void(array, types.intp, pair), generate


@_intrinsic
def _section(_: Any, coefficients: Any, at: Any, x: Any, pair: Any) -> Any:
    """Return y and the next state of a section for input x, with b0, b1, b2, a1, a2 at coefficients[at] and after."""
    signature = types.Tuple([types.float64, pair])(coefficients, types.uintp, types.float64, pair)  # type: ignore[no-untyped-call]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, x, z = arguments
        first = builder.gep(context.make_array(signature.args[0])(context, builder, array).data, [at])
        element = first.type.pointee

        def load(offset: int, kind: Any, wide: Any) -> Any:
            pointer = builder.bitcast(builder.gep(first, [_INT(offset)]), kind.as_pointer())
            value = builder.load(pointer)
            value.align = context.get_abi_sizeof(element)
            return value if element == _DOUBLE else builder.fpext(value, wide)

        two = ir.VectorType(element, 2)
        z1 = builder.extract_element(z, _INT(0))
        y = _call(builder, "llvm.fma.f64", _DOUBLE, load(0, element, _DOUBLE), x, z1)
        zeros, z2_and_0 = ir.Constant(_PAIR, [0.0, 0.0]), ir.Constant(ir.VectorType(_INT, 2), [1, 2])
        z = builder.shuffle_vector(z, zeros, z2_and_0)
        z = _call(builder, "llvm.fma.v2f64", _PAIR, load(1, two, _PAIR), _twice(builder, x), z)
        z = _call(builder, "llvm.fma.v2f64", _PAIR, builder.fneg(load(3, two, _PAIR)), _twice(builder, y), z)
        return context.make_tuple(builder, signature.return_type, [y, z])

    return signature, generate


@_intrinsic
def _fetch(_: Any, array: Any, index: Any) -> Any:
    """Prefetch array[index], which will soon be written; kernels that write backwards would wait for it otherwise."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = builder.gep(context.make_array(signature.args[0])(context, builder, arguments[0]).data, [arguments[1]])
        place = builder.bitcast(first, ir.IntType(8).as_pointer())
        _call(builder, "llvm.prefetch.p0i8", ir.VoidType(), place, _INT(1), _INT(3), _INT(1))
        return context.get_dummy_value()

    return types.void(array, types.uintp), generate


@_intrinsic
def _flush(_: Any) -> Any:
    """Flush subnormal numbers to zero on x86, in this thread; return the word that `_restore` needs (0 elsewhere)."""

    def generate(_: Any, builder: Any, __: Any, ___: Any) -> Any:
        if not builder.module.triple.startswith("x86"):
            return _INT(0)
        before = builder.alloca(_INT)
        _control(builder, "st", before)
        word = builder.load(before)
        _set(builder, builder.or_(word, _INT(_FLUSH)))
        return word

    return types.int32(), generate


@_intrinsic
def _restore(_: Any, word: Any) -> Any:
    """Undo `_flush`."""

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        if builder.module.triple.startswith("x86"):
            _set(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(types.int32), generate


def _control(builder: Any, direction: str, place: Any) -> None:
    bytes_ = builder.bitcast(place, ir.IntType(8).as_pointer())
    _call(builder, f"llvm.x86.sse.{direction}mxcsr", ir.VoidType(), bytes_)


def _set(builder: Any, word: Any) -> None:
    place = builder.alloca(_INT)
    builder.store(word, place)
    _control(builder, "ld", place)


@cache
def forward_of(sections: int) -> Callable[..., None]:
    """Return the kernel of a cascade of `sections`, 1 to `MOST_SECTIONS`.

    It is called for one item of a batch, with its index and

    - audio: (batch, time), float32 or float64;
    - coefficients: b0, b1, b2, a1, a2 of each section, (batch, frames, sections, 5), flat, float32 or float64;
    - bounds: index of the first sample of each segment, then the number of samples;
    - frames: for each segment, the index of the frame of all its samples or, if `moves` is 1, of its first sample; each
      further sample then uses the next frame;
    - moves: 1 if each sample has a frame of its own, otherwise 0;
    - state: z1 and z2 of each section before the first sample, (batch, 2 sections), float64;
    - kept: 1 if all rows of `marks` are kept, 0 if each row may overwrite the one before;
    - marks: states before the first sample of each segment, (batch, segments, or 1 if not kept, 2 sections), written;
    - output: like audio, written; final: like state, the state after the last sample, written.

    All are contiguous.
    """

    @compiled
    def forward(
        item: int,
        audio: Any,
        coefficients: Any,
        bounds: Any,
        frames: Any,
        moves: int,
        state: Any,
        kept: int,
        marks: Any,
        output: Any,
        final: Any,
    ) -> None:
        word = _flush()
        x, y, mark = audio[item], output[item], marks[item]
        size = np.uintp(5 * sections)
        origin = np.uintp(item) * np.uintp(coefficients.shape[0] // audio.shape[0])
        back = np.uintp(5 * sections * (1 - moves))
        z = _memories(state[item], sections)
        for segment in range(frames.shape[0]):
            row = mark[segment * kept]
            for s in range(sections):
                _keep(row, 2 * s, z[s])
            at = origin + np.uintp(frames[segment]) * size
            for t in range(np.uintp(bounds[segment]), np.uintp(bounds[segment + 1])):
                u = np.float64(x[t])
                for s in range(sections):
                    u, pair = _section(coefficients, at, u, z[s])
                    z = _replaced(z, s, pair)
                    at += np.uintp(5)
                y[t] = u
                at -= back
        after = final[item]
        for s in range(sections):
            _keep(after, 2 * s, z[s])
        _restore(word)

    return forward


@cache
def backward_of(sections: int, moving: bool) -> Callable[..., None]:
    """Return the kernel of the adjoint recursion, which runs backwards in time and through the sections.

    With l1, l2 the gradients of z1', z2' of a section and g that of its y::

        h = g - a1 l1 - a2 l2
        db0 += h x;  db1 += l1 x;  db2 += l2 x;  da1 -= l1 y;  da2 -= l2 y
        dx = b0 h + b1 l1 + b2 l2;   l2' = l1;   l1' = h

    `moving` is true if each sample has a frame of its own. The kernel is called for one item of a batch, with its
    index, with audio, coefficients, bounds, frames and marks (all rows) as `forward_of` describes them, and with

    - grad_output: like audio; grad_state: like state, the gradient of the final state, which is replaced by that of the
      initial state;
    - grad_audio: like audio, written;
    - grad_coefficients: (batch, frames, sections, 5), flat, in the dtype of the coefficients and written if `moving`,
      otherwise float64 and added to.
    """

    @compiled
    def backward(
        item: int,
        audio: Any,
        coefficients: Any,
        bounds: Any,
        frames: Any,
        marks: Any,
        grad_output: Any,
        grad_state: Any,
        grad_audio: Any,
        grad_coefficients: Any,
    ) -> None:
        word = _flush()
        x, grad_y, grad_x, mark, grad_z = (
            audio[item],
            grad_output[item],
            grad_audio[item],
            marks[item],
            grad_state[item],
        )
        one, five, size, length = np.uintp(1), np.uintp(5), np.uintp(5 * sections), np.uintp(SEGMENT)
        origin = np.uintp(item) * np.uintp(coefficients.shape[0] // audio.shape[0])
        step, back = (size, np.uintp(0)) if moving else (np.uintp(0), size)
        between = np.empty((sections + 1) * SEGMENT)  # the input of each section and the output of the last
        gradient = np.empty(SEGMENT)
        for segment in range(frames.shape[0] - 1, -1, -1):
            start, stop = np.uintp(bounds[segment]), np.uintp(bounds[segment + 1])
            count = stop - start
            first = origin + np.uintp(frames[segment]) * size
            z = _memories(mark[segment], sections)
            at = first
            for i in range(count):
                u = np.float64(x[start + i])
                between[i] = u
                place = i
                for s in range(sections):
                    u, pair = _section(coefficients, at, u, z[s])
                    z = _replaced(z, s, pair)
                    if moving:
                        _fetch(grad_coefficients, at)
                    at += five
                    place += length
                    between[place] = u
                at -= back
                gradient[i] = grad_y[start + i]
            for reverse in range(sections):
                s = np.uintp(sections - 1 - reverse)
                l1, l2 = grad_z[2 * s], grad_z[2 * s + one]
                d0 = d1 = d2 = e1 = e2 = 0.0
                own = first + five * s
                at = own + (count - one) * step
                ahead = s * length + count
                for i in range(count):
                    ahead -= one
                    here = count - one - i
                    u, v = between[ahead], between[ahead + length]
                    h = gradient[here] - coefficients[at + np.uintp(4)] * l2 - coefficients[at + np.uintp(3)] * l1
                    gradient[here] = (
                        coefficients[at] * h + coefficients[at + one] * l1 + coefficients[at + np.uintp(2)] * l2
                    )
                    if moving:
                        grad_coefficients[at] = h * u
                        grad_coefficients[at + one] = l1 * u
                        grad_coefficients[at + np.uintp(2)] = l2 * u
                        grad_coefficients[at + np.uintp(3)] = -l1 * v
                        grad_coefficients[at + np.uintp(4)] = -l2 * v
                    else:
                        d0 += h * u
                        d1 += l1 * u
                        d2 += l2 * u
                        e1 += l1 * v
                        e2 += l2 * v
                    l2 = l1
                    l1 = h
                    at -= step
                if not moving:
                    grad_coefficients[own] += d0
                    grad_coefficients[own + one] += d1
                    grad_coefficients[own + np.uintp(2)] += d2
                    grad_coefficients[own + np.uintp(3)] -= e1
                    grad_coefficients[own + np.uintp(4)] -= e2
                grad_z[2 * s], grad_z[2 * s + one] = l1, l2
            for i in range(count):
                grad_x[start + i] = gradient[i]
        _restore(word)

    return backward
