"""Files of ExecuTorch, where it is installed."""

from __future__ import annotations

import json

import pytest
from tests.exporting.networks import classifier, detector

import focalnets
from focalnets.errors import ConfigError
from focalnets.exporting.writing import export_network

pytest.importorskip("executorch.exir")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]


def test_a_file_for_small_devices(tmp_path):
    exported = focalnets.export(classifier(), tmp_path / "net.pte", size_px=40, batch_size=2)
    assert exported.difference < 1e-4
    assert exported.shape == (2, 3, 40, 40)
    assert json.loads(json.loads((tmp_path / "net.json").read_text())["focalnets.labels"]) == ["blue", "green", "red"]


def test_detectors_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="Only classifiers of images"):
        export_network(*detector(), tmp_path / "net.pte")
    assert list(tmp_path.iterdir()) == []
