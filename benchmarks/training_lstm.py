"""Training of the LSTM with the compiled recurrence against the same with `torch.nn.LSTM`.

Forward and backward of the whole model under a mean-square loss, 65,536 samples in chunks of 4,800 with the state
carried and detached, one thread, float32. The two are timed by turns in one process.

    python benchmarks/training_lstm.py [--repeats 7]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import torch

from nablafx_models.lstm import LSTM

SIZES = [(32, 4), (96, 4), (32, 16), (96, 16)]
SAMPLES, CHUNK = 65536, 4800


def seconds(model, audio, target, kernels):
    os.environ["NABLAFX_KERNELS"] = kernels
    model.zero_grad()
    state = model.initial_state(audio.shape[0])
    start = time.perf_counter()
    for dry, wet in zip(audio.split(CHUNK, -1), target.split(CHUNK, -1), strict=True):
        out, state = model(dry, None, state)
        torch.nn.functional.mse_loss(out, wet).backward()
        state = {key: value.detach() for key, value in state.items()}
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print("hidden  batch  torch ms  compiled ms  ratio  quartiles")  # noqa: T201
    for hidden, batch in SIZES:
        torch.manual_seed(0)
        model = LSTM(hidden_size=hidden)
        audio, target = torch.rand(2, batch, 1, SAMPLES) - 0.5
        for kernels in ("torch", "auto"):
            seconds(model, audio[..., : 2 * CHUNK], target[..., : 2 * CHUNK], kernels)
        pairs = [[seconds(model, audio, target, kernels) for kernels in ("torch", "auto")] for _ in range(repeats)]
        low, middle, high = statistics.quantiles([slow / fast for slow, fast in pairs], n=4)
        slow, fast = (statistics.median(column) * 1e3 for column in zip(*pairs, strict=True))
        print(f"{hidden:6d}  {batch:5d}  {slow:8.0f}  {fast:11.0f}  {middle:5.2f}  {low:.2f}-{high:.2f}")  # noqa: T201


if __name__ == "__main__":
    main()
