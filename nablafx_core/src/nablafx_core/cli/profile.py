"""``nablafx profile``: print the cost of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablafx_core.commands import answer, as_json, runs_dir, say, table, trust_option

if TYPE_CHECKING:
    from nablafx_core.profiling import CostCard


@click.command()
@click.argument("name", metavar="NAME|FILE|BUNDLE")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Setting, such as model.channel_width=32.")
@click.option("--controls", type=click.IntRange(min=0), help="Number of knobs of a model without data.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Number of torch threads.")
@click.option(
    "--seconds", type=click.FloatRange(min=0), default=4.0, show_default=True, help="Time for the measurements."
)
@runs_dir
@trust_option
@as_json
def profile(
    name: str,
    overrides: tuple[str, ...],
    controls: int | None,
    threads: int,
    seconds: float,
    runs_dir: str,
    as_json: bool,
) -> None:
    """Print the cost of a model: size, arithmetic, memory, latency, and the speed of training and streaming.

    The model is the name of a preset or of a model, an experiment FILE, or a trained model: a BUNDLE, a run's id or
    folder, or pack/name. The training step uses the batch size and the segment length of the preset or the experiment;
    without these, 4 segments of 16,384 samples.

    \b
    nablafx profile tcn-45-s
    nablafx profile tcn --set model.conditioning=film --controls 2
    nablafx profile ts9.nfx --threads 4
    """
    say("Measuring …")
    from dataclasses import asdict
    from functools import partial

    from nablafx_core.cli.profiled import find_subject
    from nablafx_core.profiling import cost_card
    from nablafx_core.training.optimizer import optimizer_of

    model, experiment = find_subject(name, overrides, controls, Path(runs_dir))
    options: dict[str, Any] = {"threads": threads, "seconds": seconds}
    if experiment is not None:
        loading = experiment.loading
        options |= {"batch_size": loading.batch_size, "segment_length": loading.segment_length}
        options["optimizer"] = partial(optimizer_of, settings=experiment.train)
    card = cost_card(model, **options)
    if as_json:
        answer({**asdict(card), "receptive_field_ms": card.receptive_field_ms, "latency_ms": card.latency_ms})
    else:
        click.echo(table(_rows(card)))


def _rows(card: CostCard) -> list[tuple[str, str]]:
    return [
        ("Model", f"{card.model} at {card.sample_rate:,} Hz, {card.num_controls} controls"),
        ("Parameters", f"{card.trained_parameters:,} trained, {card.parameters:,} in all"),
        ("MACs per sample", f"{_figure(card.macs_per_sample)}"),
        *(("  not counted", module) for module in card.not_counted),
        ("Receptive field", _receptive_field(card)),
        ("Latency", f"{card.latency:,} samples, {_figure(card.latency_ms)} ms"),
        (
            "Training step",
            f"{_figure(1000 * card.step_seconds)} ms for {card.batch_size} x {card.segment_length:,} samples",
        ),
        ("  speed", f"{card.step_samples_per_second:,.0f} samples/s"),
        ("  peak memory", _memory(card)),
        *_stream(card),
        ("Measured on", f"{card.device}, {card.threads} {'thread' if card.threads == 1 else 'threads'}"),
    ]


def _figure(value: float) -> str:
    """Format a number with three digits, or with all digits before the decimal point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _receptive_field(card: CostCard) -> str:
    position = ", and its position in the file" if card.remembers_position else ""
    if card.receptive_field is None:
        return f"unbounded{position}"
    beyond = (", and unbounded through its conditioning" if card.recurrent else "") + position
    return f"{card.receptive_field:,} samples, {_figure(1000 * card.receptive_field / card.sample_rate)} ms{beyond}"


def _memory(card: CostCard) -> str:
    return "unknown" if card.step_peak_bytes is None else f"{card.step_peak_bytes / 2**20:,.1f} MiB"


def _stream(card: CostCard) -> list[tuple[str, str]]:
    if not card.real_time_factors:
        return [("Stream", "none; it renders whole files")]
    return [
        (f"Blocks of {size:,}", f"{_figure(factor)} x real time") for size, factor in card.real_time_factors.items()
    ]
