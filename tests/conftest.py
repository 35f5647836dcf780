"""Things that tests of several rooms need."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from focalnets.training.trainer import open_data

COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}


@pytest.fixture(scope="session")
def write_coloured_images():
    """Writes noisy images, one folder a colour: easy to learn, quick to read."""

    def write(folder, images_per_class, size_px=24):
        random = np.random.default_rng(images_per_class)
        for name, colour in COLOURS.items():
            (folder / name).mkdir(parents=True)
            for index in range(images_per_class):
                pixels = np.array(colour) + random.normal(0, 40, (size_px, size_px, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{index}.png")
        return folder

    return write


@pytest.fixture(scope="session")
def coloured_images(write_coloured_images, tmp_path_factory):
    """A folder with 3 classes of 20 images."""
    return write_coloured_images(tmp_path_factory.mktemp("coloured"), 20)


@pytest.fixture(scope="session")
def coloured_run(coloured_images, tmp_path_factory):
    """The folder of a finished miniature training on ``coloured_images``."""

    from focalnets.training.recipes import miniature
    from focalnets.training.trainer import train

    config = miniature().replace(epochs=4)
    output = tmp_path_factory.mktemp("runs") / "coloured"
    train(config, open_data(coloured_images, config), output=output, quiet=True)
    return output


IMAGENETTE = (
    "tench", "English springer", "cassette player", "chain saw", "church", "French horn", "garbage truck", "gas pump",
    "golf ball", "parachute",
)  # fmt: skip


@pytest.fixture
def shipped_stand_in(monkeypatch, tmp_path_factory):
    """A network of the variant with drawn weights in the place of the trained one inside the package."""
    import torch

    from focalnets.weights import shipped
    from focalnets.weights.checkpoint import save_checkpoint
    from focalnets.weights.loading import create_model

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_model("focalnet_pico", num_classes=10).eval()
    model.class_names = IMAGENETTE
    monkeypatch.setattr(shipped, "FOLDER", tmp_path_factory.mktemp("shipped"))
    weights = shipped.SHIPPED[shipped.DEFAULT].folder / "model.safetensors"
    save_checkpoint(model, weights, dtype="float16", notes={"val_top1": "0.9375"})
    return model
