"""Laws of embeddings: they return finite vectors for each frame, which depend on their own item only."""

from __future__ import annotations

import torch
from torch import Tensor

from nablafx_core.interfaces import Embedding
from nablafx_core.testing.subject import LawBroken, check, error


def embedding_is_per_item(embedding: Embedding) -> float:
    """Check that a batch of two gives the same as two batches of one: (batch, frames, size), for one second of noise.

    Returns:
        The largest difference relative to the larger of 1 and the peak.

    Raises:
        LawBroken: if the difference is larger than 1e-5, the output has another shape, or the sample rate is invalid.
    """
    audio = _audio(embedding)
    together = _embedded(embedding, audio)
    alone = torch.cat([_embedded(embedding, audio[i : i + 1]) for i in range(2)])
    advice = "Use no statistics over the batch in evaluation mode."
    return check(error(together, alone), 1e-5, f"items are independent ({type(embedding).__name__})", advice)


def embedding_survives_silence(embedding: Embedding) -> float:
    """Check that one second of silence and one of noise give finite vectors, and different ones.

    Returns:
        The largest absolute value for noise.

    Raises:
        LawBroken: if a value is NaN or infinite, the vectors are the same, the output does not have the shape (batch,
            frames, size), or the sample rate is invalid.
    """
    audio = _audio(embedding)
    silence, noise = _embedded(embedding, torch.zeros_like(audio)), _embedded(embedding, audio)
    if not bool(silence.isfinite().all() and noise.isfinite().all()):
        raise LawBroken(
            "the vectors for silence or for noise contain NaN or infinite values. Add a floor to denominators, and "
            "under logarithms and roots."
        )
    if torch.equal(silence, noise):
        raise LawBroken("the vectors for silence and for noise are the same. Check that the embedding uses its input.")
    return float(noise.abs().max())


def _audio(embedding: Embedding) -> Tensor:
    rate = embedding.sample_rate
    if isinstance(rate, bool) or not isinstance(rate, int) or rate <= 0:
        raise LawBroken(f"sample_rate is {rate!r}; expected a positive int in Hz, as a class attribute.")
    return torch.rand(2, 1, rate, generator=torch.Generator().manual_seed(0)) - 0.5


def _embedded(embedding: Embedding, audio: Tensor) -> Tensor:
    with torch.no_grad():
        out: object = embedding.eval()(audio)
    if not isinstance(out, Tensor) or out.ndim != 3 or out.shape[0] != len(audio) or 0 in out.shape:
        found = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise LawBroken(
            f"the embedding returned {found} for audio of shape {tuple(audio.shape)}; expected a tensor (batch, "
            "frames, size) with at least one frame."
        )
    return out
