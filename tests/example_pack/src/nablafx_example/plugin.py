"""What the pack provides. It is imported whenever nablafx starts, so it imports nothing heavy itself."""

from __future__ import annotations

from nablafx_core import Component, hookimpl


@hookimpl
def nablafx_models() -> list[Component]:
    """A model."""
    example = {"controls": [{"name": "tone"}]}
    return [Component("soft-tone", "nablafx_example.model:SoftTone", "Tone knob, then a soft clip", example)]


@hookimpl
def nablafx_processors() -> list[Component]:
    """A part of gray-box chains."""
    return [Component("tremolo", "nablafx_example.processor:Tremolo", "Loudness that swings like a sine")]


@hookimpl
def nablafx_datasets() -> list[Component]:
    """Recordings to learn from."""
    return [Component("bursts", "nablafx_example.dataset:Bursts", "Decaying sines through a tone knob and a soft clip")]


@hookimpl
def nablafx_presets() -> list[Component]:
    """Settings with a name."""
    return [Component("soft-tone-dark", "nablafx_example:presets/soft-tone-dark.yaml", "Begins with a low cutoff")]
