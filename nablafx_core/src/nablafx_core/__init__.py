"""NablAFx: differentiable black-box and gray-box modelling of audio effects, built from plugin packs."""

from __future__ import annotations
