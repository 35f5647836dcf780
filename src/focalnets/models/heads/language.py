"""What stands on top of networks of one-dimensional data: what comes next, and the class of the whole.

Axes: B batch, T positions, C channels, V tokens of the vocabulary, K classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from focalnets.models.layers import NORM_EPSILON
from focalnets.models.plain import project
from focalnets.ops.linear import linear

__all__ = ["LanguageHead", "TextClassifierHead"]


class LanguageHead(nn.Module):
    """Normalise the tokens and compare them with the embedding of each token of the vocabulary."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON)

    def forward(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        """Compute the logits of the next token.

        Args:
            tokens: (B, T, C).
            embedding: (V, C), the weight that also embeds tokens.

        Returns:
            (B, T, V).
        """
        return linear(self.norm(tokens), embedding, None)


class TextClassifierHead(nn.Module):
    """Normalise the tokens, average the valid ones and classify."""

    def __init__(self, dim: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=NORM_EPSILON)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(dim, num_classes)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the logits of each class (B, K) from tokens (B, T, C) and booleans (B, T), True for valid ones."""
        tokens = self.norm(tokens)
        if mask is None:
            pooled = tokens.mean(1)
        else:
            valid = mask.unsqueeze(-1)
            pooled = tokens.masked_fill(~valid, 0).sum(1) / valid.sum(1).clamp(min=1)
        return project(self.classifier, self.dropout(pooled))
