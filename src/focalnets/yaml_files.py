"""YAML files that people write: plain values, understood as in YAML 1.2, and nothing that stands there twice."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable
from typing import Any

from focalnets.errors import ConfigError, abridged, kind_of_value
from focalnets.files import user_path

__all__ = ["read_yaml"]


def read_yaml(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """Read a YAML file that holds names with values.

    Numbers, true and false are understood as in YAML 1.2: ``1e-3`` is a number, ``no`` and ``12:30`` are texts.

    Raises:
        ConfigError: If it cannot be read, holds something else, or names something twice.
    """
    import yaml

    try:
        text = user_path(path).read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_loader())
    except OSError as error:
        raise ConfigError(f"The config '{path}' cannot be read ({error.strerror}).") from error
    except Exception as error:  # What tags ask for makes constructors raise anything.
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise ConfigError(f"The config '{path}' cannot be read ({reason}).") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"The config '{path}' must hold settings such as 'epochs: 10', but it is {kind_of_value(content)}."
        )
    return content


def _loader() -> Any:
    """The safe loader of PyYAML with the scalars of YAML 1.2."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Knows fewer and plainer scalars than YAML 1.1."""

        yaml_implicit_resolvers: dict = {}  # noqa: RUF012

        def construct_mapping(self, node: Any, deep: bool = False) -> dict:
            """Refuse names that come twice."""
            seen = set()
            for key, _ in node.value:
                name = self.construct_object(key, deep=True)
                if not isinstance(name, Hashable):
                    break  # which is refused below
                if name in seen:
                    reason = f"{abridged(name)} stands there twice"
                    raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark)
                seen.add(name)
            return super().construct_mapping(node, deep=deep)

    scalars = {
        "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
        "float": (
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
            list("-+.0123456789"),
        ),
    }
    for name, (pattern, first) in scalars.items():
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"^(?:{pattern})$"), first)
    Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: _whole(loader.construct_scalar(node)))
    Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: _number(loader.construct_scalar(node)))
    return Loader


def _whole(text: str) -> int:
    return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))


def _number(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
