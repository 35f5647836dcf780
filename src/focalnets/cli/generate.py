"""``focalnets generate``: continue a text with a trained network."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterable
from typing import Any

from focalnets.cli.options import add_device, add_json, require_whole
from focalnets.cli.output import deliver, note, prints_results
from focalnets.errors import ConfigError

EXAMPLES = """\
  focalnets generate runs/shakespeare
  focalnets generate runs/shakespeare --prompt "ROMEO:" --length 2000
  focalnets generate runs/shakespeare --prompt "To be" "Not to be" --temperature 0.5 --seed 3
  focalnets generate runs/shakespeare --prompt "ROMEO:" --json | jq -r .texts[0]

  The text appears as it is made; several prompts are continued together and shown one after the other at the end.
  Memory does not grow with the length unless a block of the network attends."""


def add_arguments(parser: Any) -> None:
    """Add the network, the prompts and how tokens are drawn."""
    parser.add_argument("model", type=str, metavar="MODEL", help="folder of a run or weights file of a language model")
    parser.add_argument(
        "--prompt", type=str, nargs="+", metavar="TEXT",
        help="one or several texts to go on from (default: a new line, or the first token where there is none)",
    )  # fmt: skip
    parser.add_argument("--length", type=int, default=500, metavar="N", help="tokens to add (default: 500)")
    parser.add_argument(
        "--temperature", type=float, default=0.8, metavar="T",
        help="below 1 likelier, above 1 more varied; 0 always takes the likeliest token (default: 0.8)",
    )  # fmt: skip
    parser.add_argument(
        "--top_p", type=float, default=1.0, metavar="FRACTION",
        help="draw only among the likeliest tokens that together reach this probability (default: 1)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, metavar="N", help="makes the same text come again (default: another one)")
    add_json(parser, "prompts, texts and speed")
    add_device(parser)


def run(arguments: Any) -> int:
    """Continue the prompts, and show them as they grow."""
    require_whole(arguments, length=1, seed=0)
    if arguments.prompt is not None and not all(arguments.prompt):
        raise ConfigError("--prompt must hold at least one character, got an empty text.")
    from focalnets import api
    from focalnets.data.text.reading import without_surrogates
    from focalnets.tasks.language.generation import usual_prompt

    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    model = api.load(arguments.model, device=arguments.device)
    if arguments.prompt is None:
        prompts = [usual_prompt(model.network)]
        if prompts != ["\n"]:
            note(f"the network does not know new lines; the text begins with {prompts[0]!r}")
    else:
        prompts = [without_surrogates(prompt) for prompt in arguments.prompt]
    started = time.perf_counter()
    pieces = model.generate(
        prompts, length=arguments.length, temperature=arguments.temperature, top_p=arguments.top_p, seed=seed
    )
    streams = len(prompts) == 1 and not prints_results()
    keeps = not streams or arguments.json is not None
    texts, steps, stopped = _gather(pieces, prompts, streams=streams, keeps=keeps)
    seconds = time.perf_counter() - started
    tokens = min(steps, arguments.length) * len(prompts)
    note(f"{tokens:,} tokens in {seconds:.1f} s: {tokens / seconds:,.0f} tokens/s; seed {seed}")
    if stopped:
        raise KeyboardInterrupt
    content = {
        "model": arguments.model, "prompts": prompts, "texts": texts, "tokens": tokens, "seconds": seconds,
        "tokens_per_s": tokens / seconds, "temperature": arguments.temperature, "top_p": arguments.top_p, "seed": seed,
    }  # fmt: skip
    deliver(arguments, lambda: None if streams else _show(prompts, texts), json=lambda: content)
    return 0


def _gather(
    pieces: Iterable[list[str]], prompts: list[str], *, streams: bool, keeps: bool
) -> tuple[list[str], int, bool]:
    """Take the pieces as they come; a single text is shown at once, and kept only where it is wanted later.

    Returns:
        The texts that are kept, how many pieces came, and whether Ctrl-C stopped them.
    """
    parts: list[list[str]] = [[] for _ in prompts]
    steps, stopped = 0, False
    if streams:
        print(prompts[0].lstrip("\n"), end="", flush=True)
    try:
        for step in pieces:
            steps += 1
            if streams:
                print(step[0], end="", flush=True)
            if keeps:
                for part, piece in zip(parts, step, strict=True):
                    part.append(piece)
    except KeyboardInterrupt:
        stopped = True
    if streams:
        print()
        sys.stdout.flush()
    return ["".join(part) for part in parts], steps, stopped


def _show(prompts: list[str], texts: list[str]) -> None:
    for number, (prompt, text) in enumerate(zip(prompts, texts, strict=True), start=1):
        print(f"== {number} of {len(prompts)}")
        print(f"{prompt}{text}".strip("\n"))
