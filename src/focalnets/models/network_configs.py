"""The descriptions of all networks that a checkpoint can hold, to and from plain values. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from focalnets.errors import ConfigError
from focalnets.models.config import FocalNetConfig
from focalnets.models.fields import shortened
from focalnets.models.sequence_config import LanguageConfig, TextClassifierConfig

__all__ = ["NetworkConfig", "config_from_dict", "config_to_dict", "least_numbers"]

NetworkConfig = FocalNetConfig | LanguageConfig | TextClassifierConfig
"""What a network is made of."""

_KINDS: dict[str, type[LanguageConfig] | type[TextClassifierConfig]] = {
    "language": LanguageConfig,
    "text_classifier": TextClassifierConfig,
}


def config_to_dict(config: NetworkConfig) -> dict[str, Any]:
    """Write plain values that survive JSON; those of one-dimensional data carry their ``kind``."""
    kind = next((name for name, config_class in _KINDS.items() if type(config) is config_class), None)
    return config.to_dict() if kind is None else {"kind": kind, **config.to_dict()}


def config_from_dict(values: Mapping[str, Any]) -> NetworkConfig:
    """Build what :func:`config_to_dict` wrote; without ``kind`` it is a FocalNet.

    Raises:
        ConfigError: If the kind or a key is unknown, or a value out of range.
    """
    if "kind" not in values:
        return FocalNetConfig.from_dict(values)
    fields = dict(values)
    kind = fields.pop("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ConfigError(
            f"a network must be of kind {', '.join(_KINDS)}, got {shortened(kind)}; a newer kind needs a newer "
            "focalnets."
        )
    return _KINDS[kind].from_dict(fields)


def least_numbers(config: LanguageConfig | TextClassifierConfig) -> int:
    """Count the learnt numbers of embedding and matrices of a network of one-dimensional data, a lower bound."""
    block = 4 * config.dim**2 + 2 * config.dim * int(config.dim * config.mlp_ratio)
    return config.vocabulary_size * config.dim + config.depth * block
