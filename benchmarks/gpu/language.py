"""Train nanoGPT's setting for characters: ``python -m benchmarks.gpu.language CORPUS.txt [FOLDER] [--minutes 8]``.

The network, the optimiser and the schedule are those of the recipe ``language_base``; the loop is a plain one, so that
PyTorch is all that the machine must have.

Axes: B passages, T tokens.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from focalnets.files import write_json

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["main"]

_GRACE_S = 15.0
"""Kept free at the end, for measuring and writing [s]."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """How long is trained; the usual values are those of nanoGPT.

    Attributes:
        context: Characters that are read at once.
        passages: Of a step.
        steps: Of the whole training.
        every: Steps between two measurements on what is held out.
        look_at_clock: Steps between two looks at the clock.
        fields: What differs in the network's config.
    """

    context: int = 256
    passages: int = 64
    steps: int = 5000
    every: int = 250
    look_at_clock: int = 10
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)


_TINY = Setting(6, 1, 2, 1, 1, {"dim": 8, "depth": 1, "kernel_sizes": (3,), "mlp_ratio": 1.0})


def main(arguments: Sequence[str] | None = None) -> int:
    """Train for as long as there is time; the exit status is 0 once all steps are done, 3 if a further start is due."""
    parser = argparse.ArgumentParser(prog="benchmarks/gpu/language.sh", description=__doc__)
    parser.add_argument("corpus", type=Path, help="a text in UTF-8; its last tenth is held out")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(os.environ.get("OUT", "build/gpu")))
    parser.add_argument("--minutes", type=float, default=8.0, help="most time of this start")
    parser.add_argument("--model", default="focal_language_base", help="a row of the table of language models")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="a miniature; without a GPU in Triton's interpreter")
    options = parser.parse_args(arguments)
    end = time.monotonic() + 60 * options.minutes - _GRACE_S
    try:
        text = options.corpus.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        print(f"'{options.corpus}' cannot be read as text ({type(error).__name__}).", file=sys.stderr)
        return 2
    import torch

    if not torch.cuda.is_available():
        if not options.tiny:
            print("PyTorch finds no GPU here; --tiny shows within a minute that everything runs.", file=sys.stderr)
            return 2
        os.environ["TRITON_INTERPRET"] = "1"
    setting = _TINY if options.tiny else Setting()
    if len(text) < 20 * setting.context:
        print(f"The text is too short: {len(text):,} characters.", file=sys.stderr)
        return 2
    options.folder.mkdir(parents=True, exist_ok=True)
    return _train(text, setting, options, end)


def _train(text: str, setting: Setting, options: argparse.Namespace, end: float) -> int:
    import torch

    from benchmarks.gpu.device import DEVICE, HAS_GPU
    from benchmarks.machine import machine_fields, version_fields
    from focalnets.data.text.tokenizers import CharacterTokenizer
    from focalnets.models.sequence import create_language_model
    from focalnets.training.optimization import build_optimizer, scheduled_rates
    from focalnets.training.recipes import language_base

    recipe, tokenizer = language_base(), CharacterTokenizer.of_text(text)
    tokens = torch.from_numpy(tokenizer.encode(text)).to(DEVICE, torch.int64)
    held_out = int(len(tokens) * recipe.val_fraction)
    train, val = tokens[:-held_out], tokens[-held_out:]
    torch.manual_seed(options.seed)
    network = create_language_model(options.model, vocabulary_size=tokenizer.size, **setting.fields).to(DEVICE)
    optimizer = build_optimizer(network, recipe)
    warmup = min(setting.steps - 1, round(recipe.warmup_epochs * setting.every))
    schedule = scheduled_rates(optimizer, steps=setting.steps, warmup_steps=warmup, final=recipe.final_learning_rate)
    learners = {"network": network, "optimizer": optimizer, "schedule": schedule}

    file, kept = options.folder / "language.json", options.folder / "language_state.pt"
    content: dict[str, Any] = {
        "model": options.model, "seed": options.seed, "characters": len(tokens), "setting": dataclasses.asdict(setting),
        "parameters": sum(parameter.numel() for parameter in network.parameters()), "complete": False, "rows": [],
        "machine": machine_fields(), "versions": version_fields(),
    }  # fmt: skip
    before = _read(file)
    if kept.exists() and all(before.get(name) == json.loads(json.dumps(content[name])) for name in list(content)[:5]):
        if before["complete"]:
            print("trained already")
            return 0
        state = torch.load(kept, map_location=DEVICE, weights_only=True)
        for name, learner in learners.items():
            learner.load_state_dict(state[name])
        content["rows"] = [row for row in before["rows"] if row["step"] <= state["step"]]
    first = step = content["rows"][-1]["step"] if content["rows"] else 0
    passed = content["rows"][-1]["seconds"] if content["rows"] else 0.0

    generator, places = torch.Generator(), torch.arange(setting.context + 1, device=DEVICE)
    losses: list[Tensor] = []
    begin = time.monotonic()
    network.train()
    while step < setting.steps:
        for one in (generator, torch):  # so that a second start draws what the first would have
            one.manual_seed(options.seed * setting.steps + step)
        starts = torch.randint(len(train) - setting.context, (setting.passages, 1), generator=generator)
        passages = train[starts.to(DEVICE) + places]
        optimizer.zero_grad(set_to_none=True)
        loss = _loss(network, passages[:, :-1], passages[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
        step += 1
        over = step % setting.look_at_clock == 0 and time.monotonic() > end
        if step % setting.every and step < setting.steps and not over:
            continue
        row = {"step": step, "train_nats": float(torch.stack(losses).mean()), "val_nats": _nats(network, val, setting)}
        losses.clear()
        seconds = time.monotonic() - begin
        row["seconds"] = round(passed + seconds, 2)
        row["tokens_per_s"] = round((step - first) * setting.passages * setting.context / seconds)
        if HAS_GPU:
            row["peak_bytes"] = torch.cuda.max_memory_allocated()
        content["rows"].append(row)
        partial = kept.with_suffix(".partial")
        torch.save({"step": step, **{name: learner.state_dict() for name, learner in learners.items()}}, partial)
        partial.replace(kept)
        write_json(file, content)
        print(json.dumps(row), flush=True)
        if over and step < setting.steps:
            return 3
    content["best_val_nats"] = min(row["val_nats"] for row in content["rows"])
    drawn = network.generate([0], 4 if options.tiny else 400, temperature=0.8, seed=0)
    content |= {"sample": tokenizer.decode([int(token) for token in drawn]), "complete": True}
    write_json(file, content)
    print(f"{step} steps, best {content['best_val_nats']:.4f} nats, {content['rows'][-1]['seconds']:.0f} s")
    return 0


def _loss(network: nn.Module, inputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    import torch

    with torch.autocast(inputs.device.type, torch.bfloat16):
        logits, _ = network(inputs)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction=reduction)


def _nats(network: nn.Module, val: Tensor, setting: Setting) -> float:
    """Read all that is held out (T,), in passages side by side, each without what came before it; nats a token."""
    import torch

    network.eval()
    whole = (len(val) - 1) // setting.context * setting.context
    inputs, targets = (val[shift : whole + shift].view(-1, setting.context) for shift in (0, 1))
    pairs = [*zip(inputs.split(256), targets.split(256), strict=True)]
    if len(val) - 1 > whole:
        pairs.append((val[None, whole:-1], val[None, whole + 1 :]))
    with torch.no_grad():
        total = sum(float(_loss(network, *pair, "sum")) for pair in pairs)
    network.train()
    return total / (len(val) - 1)


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


if __name__ == "__main__":
    sys.exit(main())
