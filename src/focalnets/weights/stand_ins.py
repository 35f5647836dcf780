"""Stand-ins for what training scripts save beside tensors: names that a pickle may hold, and what is read for them.

None of the classes that a pickle names is imported or called. A stand-in is a plain container where the pickle goes on
to fill it, else an object that takes everything and does nothing. Names that are not listed stop the reading.
"""

from __future__ import annotations

import argparse
import collections
from typing import Any

__all__ = ["STAND_INS", "Inert"]


class Inert:
    """Takes any argument and state, keeps none, does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        """Make one, whatever is given."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Forget what is given."""

    def __setstate__(self, state: Any) -> None:
        """Forget the state."""


def _empty_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _empty_list(*_: Any) -> list[Any]:
    return []


_INERT: dict[str, str] = {
    "pathlib": "Path PurePath PosixPath PurePosixPath WindowsPath PureWindowsPath",
    "pathlib._local": "Path PurePath PosixPath PurePosixPath WindowsPath PureWindowsPath",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID SafeUUID",
    "types": "SimpleNamespace",
    "typing": "Any",
    "builtins": "list dict tuple int float str bool bytes frozenset range slice object",
    "numpy": (
        "dtype ndarray bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 "
        "complex128 str_ bytes_"
    ),
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
    "numpy.random._pickle": "__randomstate_ctor __generator_ctor __bit_generator_ctor",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64",
    "numpy.random.mtrand": "RandomState",
    "torch.torch_version": "TorchVersion",
    "omegaconf.base": "Metadata ContainerMetadata SCMode",
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.nodes": "AnyNode StringNode IntegerNode FloatNode BooleanNode PathNode BytesNode EnumNode",
    "mmengine.logging.history_buffer": "HistoryBuffer",
}
"""Values of all kinds, by module: they are read and forgotten."""

_MAPPINGS: dict[str, str] = {
    "yacs.config": "CfgNode",
    "fvcore.common.config": "CfgNode",
    "detectron2.config.config": "CfgNode",
    "easydict": "EasyDict",
    "addict.addict": "Dict",
    "mmcv.utils.config": "ConfigDict",
    "mmengine.config.config": "ConfigDict",
    "ml_collections.config_dict.config_dict": "ConfigDict",
    "lightning.fabric.utilities.data": "AttributeDict",
    "lightning_fabric.utilities.data": "AttributeDict",
    "lightning.pytorch.utilities.parsing": "AttributeDict",
    "pytorch_lightning.utilities.parsing": "AttributeDict",
}
"""Settings of training scripts that are dicts with another name."""


def _stand_ins() -> list[Any]:
    table: list[Any] = [
        argparse.Namespace,
        (_empty_dict, "collections.defaultdict"),
        (_empty_list, "collections.deque"),
    ]
    for module, names in _INERT.items():
        table += [(Inert, f"{module}.{name}") for name in names.split()]
    for module, names in _MAPPINGS.items():
        table += [(collections.OrderedDict, f"{module}.{name}") for name in names.split()]
    return table


STAND_INS: list[Any] = _stand_ins()
"""For ``torch.serialization.safe_globals``."""
