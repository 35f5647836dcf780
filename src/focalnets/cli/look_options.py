"""How images of any size are looked at, in options: ``--context`` and what belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from focalnets.cli.options import add_flag
from focalnets.errors import ConfigError

if TYPE_CHECKING:
    from focalnets.large.looking import LargeOptions

__all__ = ["add_look_options", "read_look_options"]


def add_look_options(parser: Any) -> None:
    """Add what concerns images of any size."""
    parser.add_argument(
        "--context",
        type=str,
        metavar="CONTEXT",
        help="look at images at the size that they have, however large: image = exactly as if the network saw all at "
        "once, tile = by tiles that stand alone, shared = by tiles that share their means; see docs/large_images.md",
    )
    parser.add_argument("--tile", type=int, default=1024, metavar="PX", help="side of tiles [px] (default: 1024)")
    parser.add_argument("--overlap", type=int, default=256, metavar="PX", help="overlap of tiles [px] (default: 256)")
    parser.add_argument(
        "--memory", type=str, metavar="SIZE", help="most memory to add, e.g. 8GB (default: 3/5 of what is there)"
    )
    add_flag(parser, "half_maps", "keep maps of whole images in half precision: half the memory, no longer exact")


def read_look_options(arguments: Any) -> LargeOptions:
    """Read how to look at images.

    Raises:
        ConfigError: If an option is out of range, or a size or another precision is given too.
    """
    from focalnets.large.looking import LargeOptions
    from focalnets.large.plan import parse_memory

    options = LargeOptions(
        context=arguments.context,
        tile_px=arguments.tile,
        overlap_px=arguments.overlap,
        memory_bytes=None if arguments.memory is None else parse_memory(arguments.memory),
        dtype="float16" if arguments.half_maps else "float32",
        always_files=getattr(arguments, "resumable", False),
    )
    if arguments.precision not in ("auto", "float32"):
        raise ConfigError(f"--context computes in float32; leave --precision {arguments.precision} out, or --context.")
    if arguments.size is not None:
        raise ConfigError("--context looks at images at the size that they have; leave --size out.")
    return options
