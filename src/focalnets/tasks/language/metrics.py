"""How surprised a network is by a text.

Axes: B passages, T tokens, V entries of the vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from focalnets.data.text.tokenizers import Tokenizer

__all__ = ["NOT_COUNTED", "TextSurprise", "surprise"]

NOT_COUNTED = -100
"""Target of positions that only fill a batch up."""


def surprise(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the negative logarithm of the probability of each token [nats], (B, T); 0 where it does not count.

    Args:
        logits: (B, T, V).
        targets: (B, T), whole numbers, or :data:`NOT_COUNTED`.
    """
    each = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none", ignore_index=NOT_COUNTED)
    return each.view(targets.shape)


class TextSurprise(Metric):
    """A metric of nats a token, perplexity, and bits a byte and a character.

    Args:
        tokenizer: Says how many bytes and characters a token stands for.
        context_length: Positions that it has room for from the beginning.
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor
    byte_count: Tensor
    character_count: Tensor
    bytes_of: Tensor
    characters_of: Tensor

    def __init__(self, tokenizer: Tokenizer, context_length: int) -> None:
        super().__init__()
        # A sum for each position keeps the precision of float32, and shows how context helps.
        self.add_state("sums", torch.zeros(context_length), dist_reduce_fx="sum")
        for name, zero in (
            ("counts", torch.zeros(context_length, dtype=torch.long)), ("byte_count", torch.tensor(0)),
            ("character_count", torch.tensor(0)),
        ):  # fmt: skip
            self.add_state(name, zero, dist_reduce_fx="sum")
        self.register_buffer("bytes_of", torch.from_numpy(tokenizer.byte_counts), persistent=False)
        self.register_buffer("characters_of", torch.from_numpy(tokenizer.character_counts), persistent=False)

    def update(self, nats: Tensor, targets: Tensor) -> None:
        """Take the surprise at each token (B, T) into the sums."""
        counted, length = targets != NOT_COUNTED, targets.shape[1]
        if length > len(self.sums):  # measured on longer passages than those of training
            more = (0, length - len(self.sums))
            self.sums, self.counts = F.pad(self.sums, more), F.pad(self.counts, more)
        self.sums[:length] += nats.sum(0).to(self.sums.dtype)
        self.counts[:length] += counted.sum(0)
        tokens = targets[counted]
        self.byte_count += self.bytes_of[tokens].sum()
        self.character_count += self.characters_of[tokens].sum()

    def compute(self) -> dict[str, Tensor]:
        """Return the four figures."""
        nats = self.sums.cpu().double().sum()
        each = nats / self.counts.sum().cpu().clamp(min=1)
        bits = nats / math.log(2)
        return {
            "nats": each,
            "perplexity": each.exp(),
            "bits_per_byte": bits / self.byte_count.cpu().clamp(min=1),
            "bits_per_character": bits / self.character_count.cpu().clamp(min=1),
        }

    def by_position(self) -> list[tuple[int, float, int]]:
        """List number of tokens read before, nats a token there, and how many tokens that is."""
        counts: list[Any] = self.counts.tolist()
        return [
            (place + 1, total / count, count)
            for place, (total, count) in enumerate(zip(self.sums.tolist(), counts, strict=True))
            if count
        ]
