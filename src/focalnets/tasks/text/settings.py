"""The settings of a training that classifies texts. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Any

from focalnets.errors import ConfigError
from focalnets.models.input_specs import LARGEST_CONTEXT
from focalnets.models.sequence_variants import SEQUENCE_VARIANTS
from focalnets.tasks.settings import Range, check_ranges, check_types, check_whole_numbers, refuse_image_sizes

__all__ = ["USUAL_NETWORK", "TextSettings"]

USUAL_NETWORK = "focal_text_small"
"""The network of a training that names none."""

_RANGES: dict[str, Range] = {
    "token_dropout": (0.0, 1.0, "from 0 to below 1"),
    "label_smoothing": (0.0, 1.0, "from 0 to below 1"),
}
_LARGEST_VOCABULARY = 200_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSettings:
    """The section ``text`` of a training config.

    Attributes:
        tokenizer: What texts are cut into: words, bytes, bpe:SIZE (byte-pair encoding, trained on the texts) or the
            path of a tokenizer.json.
        vocabulary: Words that are known at most, the most frequent ones; those that come once only never are.
        context_length: Tokens of a text that the network reads; what follows them is not seen.
        text_field: Column of a table that holds the text, or several with commas between them; empty looks for a usual
            name. Columns are counted from 1 where the first line is no heading.
        label_field: Likewise the column of the label.
        token_dropout: Fraction of the tokens of a text that are left out at random in training.
        label_smoothing: How much of the label is spread over all classes in training.
    """

    tokenizer: str = "words"
    vocabulary: int = 20_000
    context_length: int = 256
    text_field: str = ""
    label_field: str = ""
    token_dropout: float = 0.1
    label_smoothing: float = 0.05

    def __post_init__(self) -> None:
        check_types(self)
        check_whole_numbers(self, {"vocabulary": 1, "context_length": 1})
        for name, most in (("vocabulary", _LARGEST_VOCABULARY), ("context_length", LARGEST_CONTEXT)):
            if getattr(self, name) > most:
                raise ConfigError(f"{name} may be at most {most:,}, got {getattr(self, name):,}.")
        check_ranges(self, _RANGES)

    def check_with(self, config: Any) -> None:
        """Refuse settings of a training that are about images.

        Raises:
            ConfigError: With what to give instead.
        """
        refuse_image_sizes(config, "how much of a text is read is --context_length")

    def miniature(self, model: str) -> dict[str, Any]:
        """Choose settings of a training that takes seconds; ``model`` is the network named."""
        return {
            "model": model if model in SEQUENCE_VARIANTS else USUAL_NETWORK,
            "model_overrides": {"dim": 16, "depth": 2},
            "context_length": 32,
        }
