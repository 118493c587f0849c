"""Each fault of an embedding breaks its law."""

from __future__ import annotations

import pytest
import torch

from nablafx_core.interfaces import Embedding
from nablafx_core.testing import LawBroken
from nablafx_core.testing.laws_embedding import embedding_is_per_item, embedding_survives_silence


class Frames(Embedding):
    """Return the audio in frames of 100 samples, changed by `change`."""

    def __init__(self, change=lambda frames: frames, rate=8000):
        super().__init__()
        self.change, self.sample_rate = change, rate

    def forward(self, audio):
        return self.change(audio.unflatten(-1, (-1, 100))[:, 0])


def test_a_correct_embedding_keeps_every_law():
    assert embedding_is_per_item(Frames()) == 0
    assert embedding_survives_silence(Frames()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("embedding", "law", "message"),
    [
        (Frames(lambda frames: frames - frames.mean(0)), embedding_is_per_item, "items are independent"),
        (
            Frames(lambda frames: frames[:, 0]),
            embedding_is_per_item,
            r"shape \(2, 100\) .* expected a tensor \(batch, frames",
        ),
        (Frames(lambda frames: frames[:, :0]), embedding_is_per_item, r"shape \(2, 0, 100\)"),
        (Frames(lambda frames: None), embedding_is_per_item, "returned NoneType"),
        (Frames(rate=16e3), embedding_is_per_item, "sample_rate is 16000.0"),
        (Frames(torch.log), embedding_survives_silence, "NaN or infinite"),
        (Frames(torch.zeros_like), embedding_survives_silence, "vectors for silence and for noise are the same"),
    ],
)
def test_a_faulty_embedding_breaks_its_law(embedding, law, message):
    with pytest.raises(LawBroken, match=message):
        law(embedding)
