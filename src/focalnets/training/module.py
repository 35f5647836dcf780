"""A classifier as Lightning trains it: loss, optimiser and metrics.

Axes: B batch, H W height and width [px], K classes.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from torchvision.transforms import v2

from focalnets.errors import TrainingError
from focalnets.models.focalnet import FocalNet
from focalnets.models.layers import FocalBlock
from focalnets.training.config import TrainingConfig
from focalnets.training.foreign import ForeignNetwork
from focalnets.training.optimization import build_optimizer, warmup_cosine
from focalnets.training.shares import NOT_COUNTED

__all__ = ["ClassifierModule"]


class ClassifierModule(LightningModule):
    """Trains ``model`` as ``config`` says over ``steps`` optimiser steps, of which the first ``warmup_steps`` warm up.

    Attributes:
        train_loss, val_loss: Mean cross-entropy of the running epoch; that of training includes label smoothing.
        val_top1, val_top5: Share of validation images whose class is the likeliest, or among the five likeliest.
    """

    def __init__(
        self, model: FocalNet | ForeignNetwork, config: TrainingConfig, *, steps: int, warmup_steps: int
    ) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.steps, self.warmup_steps = steps, warmup_steps
        self._saved: dict[str, Any] | None = None
        self._divided = False
        classes = model.config.num_classes
        self.train_loss, self.val_loss = MeanMetric(nan_strategy="disable"), MeanMetric(nan_strategy="disable")
        self.val_top1 = MulticlassAccuracy(classes, top_k=1, average="micro", validate_args=False)
        self.val_top5 = MulticlassAccuracy(classes, top_k=min(5, classes), average="micro", validate_args=False)
        blends: list[v2.Transform] = []
        if config.mixup:
            blends.append(v2.MixUp(alpha=config.mixup, num_classes=classes))
        if config.cutmix:
            blends.append(v2.CutMix(alpha=config.cutmix, num_classes=classes))
        switch = [1 - config.mixup_switch, config.mixup_switch] if len(blends) == 2 else None
        self.blend = v2.RandomChoice(blends, p=switch) if blends else None
        model.set_recompute(config.recompute)
        if config.compile:
            model.compile()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of images (B, 3, H, W)."""
        return self.model(images.contiguous(memory_format=torch.channels_last))

    def training_step(self, batch: tuple[Tensor, Tensor], _batch_idx: int) -> Tensor:
        """Loss of a batch of images (B, 3, H, W) and labels (B,)."""
        images, labels = batch
        off = self.config.mixup_off_epoch
        if self.blend is not None and (off is None or self.trainer.current_epoch < off):
            images, labels = self.blend(images, labels)
        loss = F.cross_entropy(self(images), labels, label_smoothing=self.config.label_smoothing)
        self.train_loss.update(loss.detach())
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _batch_idx: int) -> None:
        """Take a batch into the validation metrics."""
        images, labels = batch
        logits = self(images).float()
        if self.trainer.world_size > 1:
            counted = labels != NOT_COUNTED
            if not counted.any():
                return
            images, labels, logits = images[counted], labels[counted], logits[counted]
        # One loss an image: a mean that lets NaN through takes no notice of weights, and batches differ in length.
        self.val_loss.update(F.cross_entropy(logits, labels, reduction="none"))
        self.val_top1.update(logits, labels)
        self.val_top5.update(logits, labels)

    def configure_optimizers(self) -> Any:
        """The optimiser and the rate's course, stepped with every optimiser step."""
        config = self.config
        optimizer: Optimizer = build_optimizer(self.model, config, processes=self.trainer.world_size)
        final, start = config.final_learning_rate, config.warmup_learning_rate
        if config.minimum_learning_rate is not None:
            final = config.minimum_learning_rate / config.learning_rate
        schedule = warmup_cosine(
            optimizer,
            steps=self.steps,
            warmup_steps=self.warmup_steps,
            final=final,
            start=None if start is None else start / config.learning_rate,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_model(self) -> None:
        """Divide the network among the devices where the strategy asks for it."""
        if self.config.strategy != "fsdp" or self._divided:
            return
        from torch.distributed.fsdp import fully_shard

        assert self.device_mesh is not None
        mesh = self.device_mesh["data_parallel"]
        for block in [module for module in self.model.modules() if isinstance(module, FocalBlock)]:
            fully_shard(block, mesh=mesh)
        fully_shard(self.model, mesh=mesh)
        self._divided = True

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Keep everything below the classifier as it is during the first ``freeze_epochs``.

        Without a gradient an optimiser passes a parameter over, decay included. Parameters that need no gradient at all
        would be unknown to what adds up gradients across devices once they learn.
        """
        if self.trainer.current_epoch < self.config.freeze_epochs:
            for name, parameter in self.model.named_parameters():
                if not name.startswith("head."):
                    parameter.grad = None

    def configure_gradient_clipping(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        """Limit the norm of all gradients together.

        Lightning's own refuses fused optimisers under mixed precision because of float16's scaling, which
        :func:`build_optimizer` keeps apart.
        """
        if self.config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what each process has of its own: random numbers that drop branches and blend images, the mean loss."""
        on_device = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        on_mps = torch.mps.get_rng_state() if self.device.type == "mps" else None
        own = {
            "random_state": {"cpu": torch.get_rng_state(), "device": on_device, "mps": on_mps},
            "train_loss": {name: torch.as_tensor(value).cpu() for name, value in self.train_loss.metric_state.items()},
        }
        processes: list[Any] = [own] * self.trainer.world_size
        if self.trainer.world_size > 1:
            torch.distributed.all_gather_object(processes, own)
        checkpoint["processes"] = processes

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember what was saved until training begins."""
        processes = checkpoint["processes"]
        if len(processes) != self.trainer.world_size:
            raise TrainingError(
                f"The run was trained by {len(processes)} processes and continues only with as many, got "
                f"{self.trainer.world_size}."
            )
        self._saved = processes[self.global_rank]

    def on_train_start(self) -> None:
        """Go on with the saved random numbers; what happened since loading must not matter."""
        if self._saved is None:
            if self.global_rank:
                # Processes that drop the same branches and blend alike would learn less from a step.
                torch.manual_seed(self.config.seed + self.global_rank)
            return
        random_state = self._saved["random_state"]
        torch.set_rng_state(random_state["cpu"])
        if random_state["device"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(random_state["device"], self.device)
        if random_state.get("mps") is not None and self.device.type == "mps":
            torch.mps.set_rng_state(random_state["mps"])
        for name, value in self._saved["train_loss"].items():
            setattr(self.train_loss, name, value.to(self.device))
        self._saved = None

    def lr_scheduler_step(self, scheduler: Any, _metric: Any) -> None:
        """Advance the schedule; a step that float16 scaling skipped is no reason to warn."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step", category=UserWarning)
            scheduler.step()
