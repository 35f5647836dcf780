"""The settings of a language training. Imports no torch."""

from __future__ import annotations

import dataclasses
from typing import Any

from focalnets.errors import ConfigError
from focalnets.models.input_specs import LARGEST_CONTEXT
from focalnets.models.sequence_config import LANGUAGE_VARIANTS
from focalnets.tasks.settings import check_types, check_whole_numbers, refuse_image_sizes

__all__ = ["USUAL_NETWORK", "LanguageSettings"]

USUAL_NETWORK = "focal_language_small_ema"
"""The network of a training that names none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageSettings:
    """The section ``language`` of a training config.

    Attributes:
        tokenizer: What texts are cut into: characters, bytes, bpe:SIZE (byte-pair encoding, trained on the text) or
            the path of a tokenizer.json; auto takes characters, or bytes where there are more than 256 different ones.
        context_length: Tokens that the network reads at once in training and measuring.
        passages: Passages of that length that an epoch takes from the text, each from anywhere in its part; 0 takes
            as many as lie side by side.
        text_field: Field of .jsonl files that holds the text.
        sample_prompt: What the sample after each epoch begins with.
        sample_length: Tokens of that sample; 0 shows none.
    """

    tokenizer: str = "auto"
    context_length: int = 256
    passages: int = 0
    text_field: str = "text"
    sample_prompt: str = "\n"
    sample_length: int = 200

    def __post_init__(self) -> None:
        check_types(self)
        check_whole_numbers(self, {"context_length": 1, "passages": 0, "sample_length": 0})
        for name, most in (("context_length", LARGEST_CONTEXT), ("passages", 2**40), ("sample_length", 2**20)):
            if getattr(self, name) > most:
                raise ConfigError(f"{name} may be at most {most:,}, got {getattr(self, name):,}.")
        if not self.sample_prompt:
            raise ConfigError("sample_prompt must hold at least one character, got an empty text.")

    def check_with(self, config: Any) -> None:
        """Refuse settings of a training that are about images.

        Raises:
            ConfigError: With what to give instead.
        """
        refuse_image_sizes(config, "how much text is read at once is --context_length")

    def miniature(self, model: str) -> dict[str, Any]:
        """Choose settings of a training that takes seconds; ``model`` is the network named."""
        return {
            "model": model if model in LANGUAGE_VARIANTS else USUAL_NETWORK,
            "model_overrides": {"dim": 16, "depth": 2},
            "context_length": 32,
            "passages": 64,
            "sample_length": 40,
        }
