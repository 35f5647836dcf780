"""A task of its own in one file: how bright is a picture? Nothing of the package knows it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import MappingProxyType

import torch.nn.functional as F
from PIL import Image

from focalnets.data.labelled import TrainingData
from focalnets.errors import DataError
from focalnets.tasks.metric import Metric, Watch
from focalnets.tasks.table import TaskRow
from focalnets.tasks.task import Task

ROW = TaskRow(
    summary="tell how bright a picture is",
    settings="focalnets.tasks.settings:NoSettings",
    task=f"{__name__}:Brightness",
)


@dataclasses.dataclass(frozen=True)
class Reading:
    path: Path
    brightness: float

    def to_dict(self):
        return {"path": str(self.path), "brightness": self.brightness}


class Pictures:
    """Grey pictures of a json file that holds their brightness, from 0 to 1."""

    def __init__(self, place, part):
        if not Path(place).is_file():
            raise DataError(f"there is no file '{place}'.")
        self.values = json.loads(Path(place).read_text())[part]

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return Image.new("RGB", (20, 24), (round(255 * self.values[index]),) * 3), self.values[index]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brightness(Task):
    name = "brightness"
    watch = Watch("error", "min")
    metric_labels = MappingProxyType({"error": Metric("mean error", is_fraction=False)})

    def open(self, place, *, val_fraction, seed, skip_unreadable=False):
        return TrainingData(
            labels=("brightness",), train=Pictures(place, "train"), val=Pictures(place, "val"), description=str(place),
            write_split=lambda file: file.write_text(json.dumps({"root": str(place)})),
        )  # fmt: skip

    def reopen(self, split, *, root=None, skip_unreadable=False):
        return self.open(root or json.loads(split.read_text())["root"], val_fraction=0.5, seed=0)

    def open_evaluation(self, place, *, labels=None, split=None):
        return ("brightness",), Pictures(place, "val")

    def network_fields(self, labels):
        return {"num_classes": 1}

    def build(self, network, labels, *, pretrained):
        network.reset_classifier(1, labels)
        return network

    def losses(self, output, batch, *, train, reduction="mean"):
        return {"squares": F.mse_loss(output[:, 0], batch.targets.float(), reduction=reduction)}

    def metrics(self, labels):
        from torchmetrics import MeanAbsoluteError, MetricCollection

        return MetricCollection({"error": MeanAbsoluteError()})

    def measure(self, metrics, output, batch):
        metrics.update(output[:, 0], batch.targets.float())

    def results(self, output, *, paths, sizes, labels):
        return [Reading(path, value) for path, value in zip(paths, output[:, 0].tolist(), strict=True)]

    def draw(self, picture, result):
        grey = round(255 * min(max(result.brightness, 0.0), 1.0))
        page = Image.new("RGB", (picture.width, picture.height + 10), (grey,) * 3)
        page.paste(picture, (0, 10))
        return page
