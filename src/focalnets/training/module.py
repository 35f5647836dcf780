"""A network as Lightning trains it: losses, optimiser and metrics, all known through the task.

Axes: B batch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric

from focalnets.errors import TrainingError
from focalnets.models.layers import FocalBlock
from focalnets.models.sequence_layers import CausalBlock
from focalnets.tasks.batch import Batch, apply, select
from focalnets.tasks.task import Task
from focalnets.training.config import TrainingConfig
from focalnets.training.network import NetworkToTrain
from focalnets.training.optimization import build_optimizer, scheduled_rates

__all__ = ["TaskModule"]


_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class TaskModule(LightningModule):
    """A network in training as ``config`` says, over ``steps`` optimiser steps; the first ``warmup_steps`` warm up.

    Args:
        task: What the network is trained for.
        network: The network with what must be known of it.
        config: The settings.
        labels: What its answers are called.
        steps: Optimiser steps of the whole training.
        warmup_steps: Steps below the highest rate.

    Attributes:
        train_loss, val_loss: Mean loss of the running epoch; that of training includes what only helps learning.
        metrics: The task's metrics over the validation.
    """

    def __init__(
        self,
        task: Task,
        network: NetworkToTrain,
        config: TrainingConfig,
        labels: Sequence[str],
        *,
        steps: int,
        warmup_steps: int,
    ) -> None:
        super().__init__()
        self.task, self.network, self.config, self.labels = task, network, config, tuple(labels)
        self.model = network.module
        self.steps, self.warmup_steps = steps, warmup_steps
        self._saved: dict[str, Any] | None = None
        self._divided = False
        self.train_loss, self.val_loss = MeanMetric(nan_strategy="disable"), MeanMetric(nan_strategy="disable")
        self.metrics = task.metrics(labels)
        self.blend = task.blend(labels)
        network.set_recompute(config.recompute)
        if config.compile:
            self.model.compile()
        self.train()  # Lightning keeps the modes that it finds.

    def train(self, mode: bool = True) -> TaskModule:
        """Switch to training, or back; batch norms that are frozen stay as in evaluation."""
        super().train(mode)
        if mode and self.config.freeze_norms:
            for name, module in self.model.named_modules():
                if isinstance(module, _BATCH_NORMS) and not self.task.is_head(f"{name}.weight"):
                    module.eval()
        return self

    def forward(self, batch: Batch) -> Any:
        """Compute the network's output for a batch."""
        return self.task.forward(self.model, batch)

    def training_step(self, batch: Batch, _batch_idx: int) -> Tensor:
        """Compute the loss of a batch."""
        if self.blend is not None:
            batch = self.blend(batch, self.trainer.current_epoch)
        loss = total(self.task.losses(self(batch), batch, train=True))
        self.train_loss.update(loss.detach())
        return loss

    def validation_step(self, batch: Batch, _batch_idx: int) -> None:
        """Take a batch into the validation metrics."""
        output = apply(self(batch), lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)
        counted = batch.counted
        if counted is not None:
            if not counted.any():
                return
            output = select(output, counted)
            batch = Batch(select(batch.inputs, counted), select(batch.targets, counted), select(batch.mask, counted))
        # One loss for each input: a mean that lets NaN through ignores weights, and batches differ in length.
        loss = total(self.task.losses(output, batch, train=False, reduction="none"))
        self.val_loss.update(loss.expand(len(batch)) if loss.ndim == 0 else loss)
        self.task.measure(self.metrics, output, batch)

    def configure_optimizers(self) -> Any:
        """Build the optimiser and the rate's course, stepped with every optimiser step."""
        config = self.config
        optimizer: Optimizer = build_optimizer(
            self.model, config, is_head=self.task.is_head, processes=self.trainer.world_size
        )
        final, start = config.final_learning_rate, config.warmup_learning_rate
        if config.minimum_learning_rate is not None:
            final = config.minimum_learning_rate / config.learning_rate
        schedule = scheduled_rates(
            optimizer,
            steps=self.steps,
            warmup_steps=self.warmup_steps,
            final=final,
            start=None if start is None else start / config.learning_rate,
            schedule=config.schedule,
            drops=config.drops(math.ceil(self.steps / config.epochs)),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_model(self) -> None:
        """Divide the network among the devices where the strategy asks for it."""
        if self.config.strategy != "fsdp" or self._divided:
            return
        from torch.distributed.fsdp import fully_shard

        assert self.device_mesh is not None
        mesh = self.device_mesh["data_parallel"]
        for block in [module for module in self.model.modules() if isinstance(module, FocalBlock | CausalBlock)]:
            fully_shard(block, mesh=mesh)
        fully_shard(self.model, mesh=mesh)
        self._divided = True

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Keep everything below the head as it is during the first ``freeze_epochs``.

        Without a gradient an optimiser passes a parameter over, decay included. Parameters that need no gradient at all
        would be unknown to what adds up gradients across devices once they learn.
        """
        if self.trainer.current_epoch < self.config.freeze_epochs:
            for name, parameter in self.model.named_parameters():
                if not self.task.is_head(name):
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


def total(losses: dict[str, Tensor]) -> Tensor:
    """Sum named losses."""
    first, *others = losses.values()
    for loss in others:
        first = first + loss
    return first
