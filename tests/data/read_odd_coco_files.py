"""Reads each COCO file in a folder and all that its images show; run by a test in a process that may crash.

    python read_odd_coco_files.py FOLDER

Prints one json object a file, as soon as it is read: its name and what happened to it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from focalnets.data.annotated.open import open_annotated_images
from focalnets.errors import FocalNetsError


def read_all(file):
    for everything in (False, True):
        for image in open_annotated_images(file, everything=everything):
            assert image.mask.shape == tuple(image.masks.shape[1:]) == (image.image.height, image.image.width)
            assert (image.mask == image.masks.numpy().any(axis=0)).all()
            assert len(image.boxes) == len(image.labels) == len(image.crowd) == len(image.masks)
            assert image.boxes.isfinite().all()


for path in sorted(Path(sys.argv[1]).glob("*.json")):
    kind, said = "read", None
    try:
        read_all(path)
    except FocalNetsError as error:
        kind, said = "sentence", str(error)
    except BaseException as error:
        kind, said = "traceback", repr(error)
    print(json.dumps({"file": path.stem, "kind": kind, "said": said}), flush=True)
