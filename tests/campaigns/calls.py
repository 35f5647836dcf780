"""What a user does in Python, as functions of plain values that the servers can call."""

from __future__ import annotations

from pathlib import Path


def read_for_training(folder: str) -> None:
    """Read every image of a folder as a training does, changed at random, and those held out as in evaluation."""
    from focalnets.models.config import Preprocessing
    from focalnets.training.data import training_loader, validation_loader
    from focalnets.training.recipes import miniature
    from focalnets.training.trainer import open_data

    config = miniature().replace(device="cpu", workers=0, batch_size=4)
    task, data = config.build_task(), open_data(folder, config)
    spec = Preprocessing(input_size_px=32)
    seen = 0
    for loader in (training_loader(task, data, config, spec), validation_loader(task, data, config, spec)):
        for batch in loader:
            assert batch.inputs.isfinite().all()
            seen += len(batch.inputs)
    assert seen >= len(data.val)


def load_weights(path: str) -> None:
    """Load a network and let it answer."""
    import torch

    import focalnets

    for network in (focalnets.load(path, device="cpu").network, focalnets.load_model(path)):
        spec = network.preprocessing
        with torch.inference_mode():
            network(torch.zeros(1, network.config.in_chans, 32, 32))
        assert spec.input_size_px >= 1


def inspect_weights(path: str) -> None:
    """Ask what a file holds."""
    import focalnets

    str(focalnets.inspect_checkpoint(path))


def read_annotated(place: str, images: str | None = None) -> None:
    """Read images with their objects, each as data for detection."""
    from focalnets.data.annotated.open import open_annotated_images

    found = open_annotated_images(Path(place), images=images, everything=True)
    for image in found:
        sample = image.sample()
        assert sample["masks"].shape[0] == len(image.objects)
        assert image.mask.shape == (image.image.height, image.image.width)
