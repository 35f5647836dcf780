"""What `focalnets predict` imports: how long it takes to start is measured by benchmarks/startup.py."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "IPython", "av", "captum", "jinja2", "lightning", "matplotlib", "onnx", "onnxruntime", "openvino", "pandas",
    "pycocotools", "pytorch_lightning", "scipy", "shtab", "sympy", "tensorboard", "timm", "torchmetrics", "torchvision",
    "transformers", "torch._dynamo", "torch._inductor",
}  # fmt: skip
"""Each takes longer to import than the network needs for a photo, or may not be installed."""

SCRIPT = f"""
import sys
from focalnets.cli.main import main
status = main(sys.argv[1:])
print(",".join(sorted({HEAVY!r} & set(sys.modules))), file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.parametrize("options", [["--json", "-"], []])
def test_predict_imports_only_what_it_needs(coloured_run, coloured_images, options):
    photo = coloured_images / "red" / "0.png"
    command = [sys.executable, "-c", SCRIPT, "predict", str(photo), "--model", str(coloured_run), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "\n"
    if options:
        assert len(json.loads(done.stdout)["predictions"]) == 1
