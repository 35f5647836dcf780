"""Functions are marked for the compiler as torch marks them."""

from __future__ import annotations

import torch

from focalnets.ops.constant import constant_when_compiled


def test_the_mark_is_that_of_torch():
    def ours():
        return 1

    def theirs():
        return 1

    assert constant_when_compiled(ours) is ours
    assert vars(ours) == vars(torch.compiler.assume_constant_result(theirs)) != {}
