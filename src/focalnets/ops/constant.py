"""Marking functions for ``torch.compile`` without importing the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["constant_when_compiled"]

F = TypeVar("F", bound=Callable[..., Any])


def constant_when_compiled(function: F) -> F:
    """Let ``torch.compile`` call the function once and keep its result.

    As ``torch.compiler.assume_constant_result``, which imports the compiler at once; that takes almost as long as
    importing torch.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
