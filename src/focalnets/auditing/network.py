"""An audit of a loaded network on labelled images, wherever these are."""

from __future__ import annotations

import os

from focalnets.auditing.answers import require_classifier
from focalnets.auditing.audited import Audit
from focalnets.auditing.results import AuditSettings
from focalnets.auditing.run import AuditProgress, open_training_samples, run_audit
from focalnets.data.labelled import LabelledData
from focalnets.engine.accelerate import Precision
from focalnets.tasks.loading import OpenedData, split_of_run
from focalnets.tasks.trained import TrainedNetwork, open_given

__all__ = ["audit_network"]


def audit_network(
    trained: TrainedNetwork,
    data: str | os.PathLike[str] | LabelledData | OpenedData,
    *,
    groups: str | os.PathLike[str] | None = None,
    masks: str | os.PathLike[str] | None = None,
    against: str | os.PathLike[str] | TrainedNetwork | None = None,
    train_data: str | os.PathLike[str] | None = None,
    split: str | os.PathLike[str] | None = None,
    gap: float = 0.05,
    alpha: float = 0.05,
    least: int = 30,
    most_changed: int = 1000,
    seed: int = 0,
    size_px: int | None = None,
    batch_size: int | None = None,
    skip_unreadable: bool = False,
    precision: Precision = "auto",
    on_progress: AuditProgress | None = None,
) -> Audit:
    """Find out what the data taught a classifier besides its task.

    Args:
        trained: The network, where it is to run.
        data: Folder, CSV file or shards; or labelled data in files.
        groups: CSV file with a path and any number of attributes for each image.
        masks: Where the objects are, see :func:`focalnets.auditing.object_masks.open_object_masks`.
        against: An earlier network of the same classes: a run's folder, a weights file, or one that is loaded.
        train_data: What the network learnt from: pictures that look alike are named, and it says which classes and
            attributes go together.
        split: File ``split.json`` of a run whose held-out part is meant; None takes that of the network's run, if it
            split this very data.
        gap: Least difference that counts as found, above 0 and below 1.
        alpha: Chance of a false alarm in each family of tests, above 0 and below 1.
        least: Groups of fewer images are not compared.
        most_changed: At most so many images are changed to see what the network needs of them; 0 leaves that out.
        seed: Of permutations, folds and the bootstrap.
        size_px: Input size [px]; None takes the network's own.
        batch_size: Images the network sees at once; None takes the task's usual number.
        skip_unreadable: Leave damaged images out instead of refusing.
        precision: What is computed with, see :func:`focalnets.engine.forms.inference_form`.
        on_progress: Called with the number of pictures looked at, that of all, and what is being done.

    Raises:
        ConfigError: If a number is out of range, or the network does not name classes.
        DataError: If the data or the table of groups is missing, not as expected, or does not fit.
        CheckpointError: If the network answers with numbers that are not finite.
    """
    settings = AuditSettings(gap=gap, alpha=alpha, least=least, most_changed=most_changed, seed=seed)
    require_classifier(trained.task)
    trained.require_weights("audit")  # it asks at other sizes
    opened = open_given(data, trained, split)
    earlier = against if isinstance(against, TrainedNetwork) else None
    if against is not None and not isinstance(against, TrainedNetwork):
        earlier = TrainedNetwork.load(against, device=str(next(trained.network.parameters()).device))
    if earlier is not None:
        require_classifier(earlier.task)
    learnt = []
    if train_data is not None:
        run = split_of_run(trained.source, train_data)
        learnt = open_training_samples(train_data, trained.labels, split=run)
    return run_audit(
        trained.task,
        trained.network,
        opened,
        settings=settings,
        groups=groups,
        masks=masks,
        earlier=earlier,
        trained_on=learnt,
        size_px=size_px,
        batch_size=batch_size,
        skip_unreadable=skip_unreadable,
        precision=precision,
        source=trained.source,
        on_progress=on_progress,
    )
