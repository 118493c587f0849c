"""``nablafx pretrain``: fit the initial weights of a processor to a target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nablafx_core.commands import say, setting_values
from nablafx_core.errors import ConfigError, DataError


@click.command()
@click.argument("processor")
@click.argument("target")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="A .safetensors file to write.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A setting of PROCESSOR: hidden_size=64.")
@click.option("--range", "limit", type=click.FloatRange(min=0, min_open=True), default=4.0, show_default=True,
              help="Fit a named curve from minus this input to this input.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), default=2000, show_default=True,
              help="Maximum number of optimiser steps; not used by static_rational.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Seed of the initial weights; not used by static_rational.")  # fmt: skip
def pretrain(
    processor: str, target: str, output: str, overrides: tuple[str, ...], limit: float, steps: int, seed: int
) -> None:
    """Fit PROCESSOR to TARGET. Write its weights to a file, and a picture of target and fit beside it, as .png.

    If PROCESSOR is static_mlp or static_rational, TARGET is a curve (tanh, hard_clip, soft_clip, arctan, diode,
    asymmetric_tanh, sine_fold) or a .csv file with a row input,output for each measured point. If PROCESSOR is
    static_fir, TARGET is a response (impulse, cabinet) or a mono .wav file, which is resampled to 48,000 Hz, or to
    another rate by --set sample_rate=44100. To start a chain from the weights, write

        pretrained: my-clip.safetensors

    in the processor's section, with the same other settings as here.

    \b
    nablafx pretrain static_mlp diode -o my-clip.safetensors
    nablafx pretrain static_fir cab.wav --set num_taps=256 -o my-cab.safetensors
    """
    path = Path(output)
    if path.suffix != ".safetensors":
        raise click.UsageError(f"--output {output}: expected a file name that ends in .safetensors.")
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no folder {path.parent}. Create it first.")

    import torch

    from nablafx_dsp.pretrained_weights import save_pretrained
    from nablafx_dsp.pretraining import fitting
    from nablafx_dsp.processors.static_fir import StaticFIR

    torch.manual_seed(seed)
    fitted = _processor(processor, overrides)
    if isinstance(fitted, StaticFIR):
        result = fitting.fit_response(fitted, target, steps)
    else:
        result = fitting.fit_nonlinearity(fitted, target, limit, steps)
    if not bool(torch.isfinite(result.fitted).all()):
        raise ConfigError(
            f"the fit of {processor} to {target} contains NaN or infinity. Try another --seed, fewer --steps or a "
            "smaller --range."
        )
    fitting.draw(result, f"{processor}: {target}", path.with_suffix(".png"), isinstance(fitted, StaticFIR))
    save_pretrained(fitted.net, path, {**fitted.pretrained_settings(), "processor": processor, "target": target})
    if result.note:
        say(result.note)
    click.echo(f"{path}: {processor} fitted to {target}, largest error {result.error:.2g}")


def _processor(name: str, overrides: tuple[str, ...]) -> Any:
    """Build static_mlp, static_rational or static_fir without pretrained weights.

    Raises:
        ConfigError: if the processor is another one, or a setting is invalid, ``name`` or ``pretrained``.
        RegistryError: if there is no processor with that name.
    """
    from nablafx_core.registry import Registry
    from nablafx_core.registry.building import build, component_class
    from nablafx_dsp.processors.static_fir import StaticFIR
    from nablafx_dsp.processors.static_mlp import StaticMLP
    from nablafx_dsp.processors.static_rational import StaticRational

    settings = setting_values(overrides)
    if {"name", "pretrained"} & settings.keys():
        raise ConfigError(
            "--set takes settings of the processor other than name and pretrained: PROCESSOR is its name, and a fit "
            "starts without pretrained weights."
        )
    if component_class(Registry.discover().find("processor", name)) not in (StaticMLP, StaticRational, StaticFIR):
        raise ConfigError(f"processor '{name}' cannot be fitted. Processors: static_mlp, static_rational, static_fir.")
    return build("processor", {"name": name, **settings, "pretrained": "none"})
