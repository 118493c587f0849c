"""Laws of embeddings: vectors for each frame, which depend on their own item only."""

from __future__ import annotations

import torch
from torch import Tensor

from nablafx_core.interfaces import Embedding
from nablafx_core.testing.subject import LawBroken, check, error


def embedding_is_per_item(embedding: Embedding) -> float:
    """Check that a batch of two gives the same as two batches of one: (batch, frames, size), for one second of audio.

    Returns:
        The largest difference relative to the larger of 1 and the peak.
    """
    audio = _audio(embedding)
    together = _embedded(embedding, audio)
    alone = torch.cat([_embedded(embedding, audio[i : i + 1]) for i in range(2)])
    advice = "Use no statistics over the batch in evaluation mode."
    return check(error(together, alone), 1e-5, f"items are independent ({type(embedding).__name__})", advice)


def embedding_survives_silence(embedding: Embedding) -> float:
    """Check that silence gives finite vectors, and that noise gives other vectors.

    Returns:
        The largest value.
    """
    audio = _audio(embedding)
    silence, noise = _embedded(embedding, torch.zeros_like(audio)), _embedded(embedding, audio)
    if not bool(silence.isfinite().all() and noise.isfinite().all()):
        raise LawBroken("it gives numbers that are NaN or infinite. Add a floor under logarithms, roots and divisors.")
    if torch.equal(silence, noise):
        raise LawBroken("it gives the same vectors for silence and for noise. Check that it uses its input.")
    return float(noise.abs().max())


def _audio(embedding: Embedding) -> Tensor:
    rate = embedding.sample_rate
    if isinstance(rate, bool) or not isinstance(rate, int) or rate <= 0:
        raise LawBroken(f"sample_rate is {rate!r}; expected a positive whole number of Hz, as a class attribute.")
    return torch.rand(2, 1, rate, generator=torch.Generator().manual_seed(0)) - 0.5


def _embedded(embedding: Embedding, audio: Tensor) -> Tensor:
    with torch.no_grad():
        out: object = embedding.eval()(audio)
    if not isinstance(out, Tensor) or out.ndim != 3 or out.shape[0] != len(audio) or 0 in out.shape:
        found = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise LawBroken(f"it gave {found} for audio of shape {tuple(audio.shape)}; expected (batch, frames, size).")
    return out
