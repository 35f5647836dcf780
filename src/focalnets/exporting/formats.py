"""The formats that networks are exported to: a row each. Imports no torch."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from focalnets.errors import ConfigError, MissingPackageError

__all__ = [
    "FORMATS",
    "RUN_HERE",
    "Format",
    "Options",
    "Precision",
    "check_request",
    "format_of",
    "is_exported",
    "require_packages",
]

Precision = Literal["float32", "float16", "int8"]
"""What weights, and for int8 also products, are kept as."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How to export; see :func:`focalnets.exporting.export.export`."""

    half: bool = False
    int8: bool = False
    legacy: bool = False
    aoti: bool = False
    size_px: int | None = None
    batch_size: int | None = None

    @property
    def precision(self) -> Precision:
        """What weights are kept as."""
        return "int8" if self.int8 else "float16" if self.half else "float32"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """A format of files.

    Attributes:
        name: What it is called.
        ending: Of the names of files.
        summary: What runs such files.
        runtime: What runs them here.
        packages: What must be installed to write a file, by the names of pip.
        runs_with: What must be installed to run it.
        install: What installs them.
        module: Of this room, with ``write(plan, path)`` and ``open_runner(path)``.
        options: Names of the options of an export that it knows.
        any_size: Whether a file takes images of any size and number.
        guarded: Whether a file refuses images smaller than the program that it was made from takes.
        also: Endings of files that are written beside it.
    """

    name: str
    ending: str
    summary: str
    runtime: str
    packages: tuple[str, ...] = ()
    runs_with: tuple[str, ...] = ()
    install: str = "pip install 'focalnets[export]'"
    module: str
    options: tuple[str, ...] = ()
    any_size: bool = True
    guarded: bool = False
    also: tuple[str, ...] = ()

    def write(self, plan: Any, path: Path) -> None:
        """Write what a :class:`focalnets.exporting.plan.Plan` says; files beside it get its name and their endings."""
        require_packages(self, (*self.packages, *self.runs_with))
        self._load().write(plan, path)

    def open_runner(self, path: Path) -> Callable[..., list[Any]]:
        """Open a file as a function from tensors to the list of its outputs.

        Raises:
            CheckpointError: If it cannot be read.
        """
        require_packages(self, self.runs_with)
        return self._load().open_runner(path)

    def read_metadata(self, path: Path) -> dict[str, str]:
        """Read the metadata of a file.

        Raises:
            CheckpointError: If it cannot be read.
        """
        require_packages(self, self.runs_with)
        return self._load().read_metadata(path)

    def _load(self) -> Any:
        return importlib.import_module(self.module)


FORMATS: dict[str, Format] = {
    row.ending: row
    for row in (
        Format(
            name="ONNX",
            ending=".onnx",
            summary="ONNX Runtime, TensorRT, and most others",
            runtime="ONNX Runtime",
            packages=("onnx", "onnxscript"),
            runs_with=("onnxruntime",),
            module="focalnets.exporting.onnx_files",
            options=("legacy",),
        ),
        Format(
            name="OpenVINO",
            ending=".xml",
            summary="OpenVINO, on processors, GPUs and NPUs of Intel and on ARM",
            runtime="OpenVINO",
            packages=("onnx", "onnxscript"),
            runs_with=("openvino",),
            module="focalnets.exporting.openvino_files",
            options=("half", "int8", "data"),
            also=(".bin",),
        ),
        Format(
            name="torch.export",
            ending=".pt2",
            summary="PyTorch without this package; with --aoti compiled for this machine",
            runtime="PyTorch",
            module="focalnets.exporting.programs",
            options=("aoti",),
            guarded=True,
        ),
        Format(
            name="ExecuTorch",
            ending=".pte",
            summary="ExecuTorch with XNNPACK, on phones and small devices",
            runtime="ExecuTorch",
            runs_with=("executorch",),
            install="pip install 'focalnets[executorch]', which may ask for another version of torch",
            module="focalnets.exporting.executorch_files",
            options=("size", "batch_size"),
            any_size=False,
            also=(".json",),
        ),
    )
}
"""The formats by the ending of their files."""

RUN_HERE = (".onnx", ".xml")
"""Endings of files that this package runs itself: those whose reading executes nothing that lies in them."""


def format_of(path: Path) -> Format:
    """Find the format that the name of a file asks for.

    Raises:
        ConfigError: If there is none.
    """
    if path.suffix not in FORMATS:
        endings = ", ".join(f"{ending} ({row.name})" for ending, row in FORMATS.items())
        raise ConfigError(f"'{path}' does not say which format is meant; end its name in one of {endings}.")
    return FORMATS[path.suffix]


def is_exported(source: Any) -> bool:
    """Tell by its name whether a source of a network is an exported file that can be run here."""
    return Path(source).suffix.lower() in RUN_HERE


def require_packages(row: Format, packages: Sequence[str], install: str | None = None) -> None:
    """Refuse a format for which packages are not installed; ``install`` says how, if not as usual.

    Raises:
        MissingPackageError: With what installs them.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingPackageError(f"{row.name} files need {' and '.join(missing)}; run: {install or row.install}.")


def check_request(row: Format, options: Options, *, data: bool) -> None:
    """Refuse what a format cannot do, and one whose packages are missing, before anything is read.

    Args:
        row: The format.
        options: How to export.
        data: Whether there are photos for int8.

    Raises:
        ConfigError: If an option is for other formats, or two do not go together.
        MissingPackageError: With what installs what is missing.
    """
    given = [name.removesuffix("_px") for name, value in vars(options).items() if value] + ["data"] * data
    for name in given:
        if name not in row.options:
            others = " and ".join(each.ending for each in FORMATS.values() if name in each.options)
            raise ConfigError(f"{name} does nothing for {row.ending} files; it is for {others}.")
    if options.int8 != data:
        raise ConfigError("int8 and data go together: int8 takes the ranges that the photos of a folder show.")
    if options.int8 and options.half:
        raise ConfigError("half and int8 are two ways to keep weights; ask for one of them.")
    for name, value in (("size", options.size_px), ("batch_size", options.batch_size)):
        if value is not None and (type(value) is not int or value < 1):
            raise ConfigError(f"{name} must be a whole number from 1 up, got {value!r:.80}.")
    require_packages(row, (*row.packages, *row.runs_with))
    if options.int8:
        require_packages(row, ("nncf",), "pip install 'focalnets[quantize]'")
