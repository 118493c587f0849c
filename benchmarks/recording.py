"""Cost of recording into MongoDB: the time of a training step with a copy, relative to the run folder alone.

    python benchmarks/recording.py

Each repeat trains a small TCN for the same number of steps without MongoDB, with a server that is up, one whose every
reply takes a second, one that is silent, and one that is down; the order rotates from repeat to repeat. Ten values are
logged at every step, thirty times as many as in a normal training, to a real server over TCP (nx-27017, in its own
process on the same machine). The table gives the ratio of the median times of a step, as its median over the repeats
with quartiles, and the same for the mean times, which include rare delays. One torch thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from nablafx_core.mongo.mongo_observer import MongoObserver
from nablafx_core.registry.building import build
from nablafx_core.runs import recorder
from nablafx_core.training.allocator import keep_freed_memory

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from reference.mongo_server import Proxy, Server, free_port

CONDITIONS = ("none", "up", "slow", "silent", "down")


def training(steps):
    """Return a body for `record` that trains and returns the seconds of its steps."""
    torch.manual_seed(0)
    settings = {"name": "tcn", "num_blocks": 5, "channel_width": 8, "kernel_size": 5, "dilation_growth": 4}
    model = build("model", settings, sample_rate=48_000)
    optimizer = torch.optim.AdamW(model.parameters())
    audio, target = torch.randn(4, 1, 8192), torch.randn(4, 1, 8192)

    def body(run):
        times = []
        for step in range(steps):
            began = time.perf_counter()
            loss = (model(audio)[0] - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for number in range(10):
                run.log(f"loss/{number}", float(loss.detach()), step)
            times.append(time.perf_counter() - began)
        return times

    return body


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    # The end of a run is measured by mongo_faults.py; here it is cut short.
    MongoObserver.__init__.__defaults__ = (1.0, 0.5, None)  # the last pause and wait of each run are not measured
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "mongo").start()
        slow, silent = Proxy(server.host, server.port), Proxy(server.host, server.port)
        slow.delay, silent.silent = 1.0, True
        ports = {"up": server.port, "slow": slow.port, "silent": silent.port, "down": free_port()}
        body = training(options.steps)
        recorder.record("warm-up", {}, Path(folder) / "runs", body)
        ratios = {condition: ([], []) for condition in CONDITIONS[1:]}
        for repeat in range(options.repeats):
            taken = {}
            for condition in CONDITIONS[repeat % 5 :] + CONDITIONS[: repeat % 5]:
                address = None if condition == "none" else f"mongodb://127.0.0.1:{ports[condition]}/lab"
                taken[condition] = recorder.record("train", {}, Path(folder) / "runs", body, mongo=address)
            for condition, (medians, means) in ratios.items():
                medians.append(statistics.median(taken[condition]) / statistics.median(taken["none"]))
                means.append(statistics.fmean(taken[condition]) / statistics.fmean(taken["none"]))
        step = 1000 * statistics.median(taken["none"])
        print(f"A step of the training alone: {step:.1f} ms (last repeat).")  # noqa: T201
        print(f"{'MONGODB':<10}{'MEDIAN STEP':>12}  {'QUARTILES':<16}{'MEAN STEP':>10}  QUARTILES")  # noqa: T201
        for condition, both in ratios.items():
            cells = [statistics.quantiles(one, n=4, method="inclusive") for one in both]
            (low, middle, high), (lower, mean, higher) = cells
            spread = f"{low:.3f} to {high:.3f}"
            print(  # noqa: T201
                f"{condition:<10}{middle:>12.3f}  {spread:<16}{mean:>10.3f}  {lower:.3f} to {higher:.3f}"
            )
        server.kill()


if __name__ == "__main__":
    main()
