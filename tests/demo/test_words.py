"""What demonstrations say alike."""

from __future__ import annotations

import pytest

from focalnets.demo.words import starts_again
from focalnets.errors import DataError, InterruptedRunError, TrainingError
from focalnets.training.endings import unfinished
from focalnets.training.run_folder import RunFolder


@pytest.mark.parametrize("saved", [False, True])
def test_a_training_that_ends_early_starts_again_in_a_demonstration(tmp_path, saved):
    folder = RunFolder(tmp_path / "run")
    folder.resume_point.parent.mkdir(parents=True)
    if saved:
        folder.resume_point.touch()
    full = unfinished(folder, "The run could not be written (No space left on device).")
    assert ("--resume" if saved else "--overwrite") in str(full)
    with pytest.raises(TrainingError) as caught, starts_again():
        raise full
    assert str(caught.value) == (
        "The run could not be written (No space left on device). `focalnets demo` starts again from the beginning."
    )
    with pytest.raises(InterruptedRunError, match=r"^Stopped; `focalnets demo` starts again"), starts_again():
        raise InterruptedRunError("Go on with: focalnets train --resume run")
    with pytest.raises(DataError, match=r"^as it is$"), starts_again():
        raise DataError("as it is")
