"""``focalnets doctor``: versions, devices and backends, and why one cannot run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import warnings
from typing import Any

from focalnets.cli.options import add_json
from focalnets.cli.output import deliver
from focalnets.version import __version__

EXAMPLES = """\
  focalnets doctor
  focalnets doctor --json doctor.json
"""

_REQUIRED = (
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "safetensors",
    "filelock",
    "huggingface-hub",
    "jinja2",
    "jsonargparse",
    "markupsafe",
    "matplotlib",
    "numpy",
    "pillow",
    "pyyaml",
    "rich",
    "scipy",
    "shtab",
)
_OPTIONAL = {
    "triton": "fused kernels on CUDA devices",
    "av": "reading and writing videos (pip install 'focalnets[video]')",
    "faster-coco-eval": "average precision of detectors (pip install 'focalnets[dense]')",
    "captum": "Grad-CAM in `focalnets localize` (pip install 'focalnets[localize]')",
    "pillow-avif-plugin": "reading AVIF where Pillow was built without it (pip install 'focalnets[images]')",
    "pillow-heif": "reading HEIC and HEIF (pip install 'focalnets[images]')",
    "pillow-jxl-plugin": "reading JPEG XL (pip install 'focalnets[images]')",
    "tifffile": "large TIFF files by regions (pip install 'focalnets[large]')",
    "imagecodecs": "large TIFF files compressed by LZW, JPEG and others (pip install 'focalnets[large]')",
    "openslide-python": "slides of microscopes (pip install 'focalnets[slides]')",
    "openslide-bin": "slides of microscopes (pip install 'focalnets[slides]')",
    "tensorboard": "curves of trainings in TensorBoard (pip install 'focalnets[tensorboard]')",
    "timm": "its networks, to compare with and for their weights",
    "transformers": "Mask2Former and other heads, its FocalNets to compare with (pip install 'focalnets[dense]')",
    "pycocotools": "drawing polygons, to compare with",
    "onnx": "writing ONNX and OpenVINO files (pip install 'focalnets[export]')",
    "onnxscript": "writing ONNX and OpenVINO files (pip install 'focalnets[export]')",
    "onnxruntime": "networks in ONNX files as MODEL (pip install 'focalnets[export]')",
    "openvino": "networks in OpenVINO files as MODEL, and writing them (pip install 'focalnets[export]')",
    "nncf": "OpenVINO files of 8 bits (pip install 'focalnets[quantize]')",
    "executorch": "writing ExecuTorch files (pip install 'focalnets[executorch]')",
    "tokenizers": "pieces of words in place of characters or bytes (pip install 'focalnets[text]')",
    "scikit-learn": "a plain method beside networks of texts and series (pip install 'focalnets[text]')",
    "pandas": "results as data frames in Python",
}


def add_arguments(parser: Any) -> None:
    """Declare the command's arguments."""
    add_json(parser, "what was found")


def run(arguments: Any) -> int:
    """Look and report."""
    found = examine()
    deliver(arguments, lambda: _show(found), json=lambda: found)
    return 0


def examine() -> dict[str, Any]:
    """Return everything that the command shows, as plain values."""
    from focalnets.ops.backends import BACKENDS

    backends = []
    for backend in BACKENDS.values():
        reason = backend.why_unavailable()
        backends.append(
            {"name": backend.name, "summary": backend.summary, "available": reason is None, "reason": reason}
        )
    return {
        "focalnets": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _REQUIRED},
        "optional_packages": [
            {"name": name, "version": _version(name), "adds": adds} for name, adds in _OPTIONAL.items()
        ],
        "devices": _devices(),
        "backends": backends,
        "engine": _engine(),
        "caches": _caches(),
        "network_in_the_package": _shipped(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    import torch

    from focalnets.machine.description import processor_name
    from focalnets.machine.process import how_idle_threads_wait

    with warnings.catch_warnings(record=True) as raised:  # an old driver shows itself by a warning
        warnings.simplefilter("always")
        has_cuda = torch.cuda.is_available()
    reason = None
    if not has_cuda:
        reason = "this build of torch has no CUDA" if torch.version.cuda is None else "no usable CUDA device was found"
        if raised:
            reason += f" ({str(raised[0].message).splitlines()[0]})"
    devices = []
    for index in range(torch.cuda.device_count() if has_cuda else 0):
        properties = torch.cuda.get_device_properties(index)
        devices.append(
            {
                "name": properties.name,
                "memory_gib": round(properties.total_memory / 2**30, 1),
                "capability": f"{properties.major}.{properties.minor}",
            }
        )
    return {
        "cpu": {
            "name": processor_name(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "idle_threads": how_idle_threads_wait(),
        },
        "cuda": {"available": has_cuda, "reason": reason, "version": torch.version.cuda, "devices": devices},
        "mps": {"available": torch.backends.mps.is_available()},
    }


def _engine() -> list[dict[str, Any]]:
    """List the precisions in which `focalnets.accelerate` can compute here."""
    from focalnets.engine.accelerate import PRECISIONS, describe_engine, why_unavailable

    reasons = {precision: why_unavailable(precision) for precision in PRECISIONS if precision != "auto"}
    return [
        {"name": name, "available": reason is None, "reason": reason, "how": describe_engine(name)}
        for name, reason in reasons.items()
    ]


def _caches() -> dict[str, str]:
    from huggingface_hub import constants

    from focalnets.weights.sources import release_cache

    return {"hub": str(constants.HF_HUB_CACHE), "release files": str(release_cache())}


def _shipped() -> dict[str, Any]:
    from focalnets.weights.shipped import DEFAULT, SHIPPED

    row = SHIPPED[DEFAULT]
    return {"name": row.name, "present": row.is_present, "file": str(row.folder / "model.safetensors")}


def _show(found: dict[str, Any]) -> None:
    packages = ", ".join(f"{name} {version or 'MISSING'}" for name, version in found["packages"].items())
    cpu, cuda = found["devices"]["cpu"], found["devices"]["cuda"]
    lines = [
        f"focalnets {found['focalnets']}, Python {found['python']}, {found['platform']}",
        f"packages: {packages}",
        "",
        f"cpu: {cpu['name']}, {cpu['instructions']}, {cpu['cores']} cores, {cpu['threads']} threads in use",
        f"idle threads {cpu['idle_threads']}",
    ]
    if cuda["available"]:
        for device in cuda["devices"]:
            lines.append(f"cuda: {device['name']}, {device['memory_gib']} GiB, capability {device['capability']}")
    else:
        lines.append(f"cuda: none, {cuda['reason']}")
    lines += [f"mps: {'available' if found['devices']['mps']['available'] else 'none'}", "", "backends, best first:"]
    for backend in found["backends"]:
        state = "can run" if backend["available"] else f"cannot run: {backend['reason']}"
        lines.append(f"  {backend['name']:<12}{backend['summary']}; {state}")
    lines += ["", "engine for inference on this CPU (focalnets.accelerate):"]
    for row in found["engine"]:
        lines.append(
            f"  {row['name']:<12}{'can run ' + row['how'] if row['available'] else 'cannot run: ' + row['reason']}"
        )
    lines += ["", "optional packages:"]
    width = max(len(package["name"]) for package in found["optional_packages"]) + 1
    for package in found["optional_packages"]:
        lines.append(f"  {package['name']:<{width}}{package['version'] or 'not installed':<15}adds {package['adds']}")
    lines += ["", "caches of published weights:"]
    lines += [f"  {name:<15}{path}" for name, path in found["caches"].items()]
    inside = found["network_in_the_package"]
    lines += ["", f"network in the package: {inside['name']}, {'present' if inside['present'] else 'MISSING'}"]
    lines += [f"  {inside['file']}"]
    print("\n".join(lines))
