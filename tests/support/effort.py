"""How many examples a property is tried on: all of them in `scripts/test --slow`, else half."""

import os

IS_SLOW = "SLOW_TESTS" in os.environ


def count(examples: int) -> int:
    return examples if IS_SLOW else (examples + 1) // 2
