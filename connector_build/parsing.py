"""Python source, parsed and not run."""

from __future__ import annotations

import ast
from functools import lru_cache


@lru_cache(maxsize=256)
def parse(content: bytes, name: str) -> ast.Module:
    """Parse Python, once for all checks that need it; nobody may change what is returned.

    A program that checks many trees, such as a test, finds most files again.

    Raise ValueError with its line where it can't be compiled.
    """
    try:
        return ast.parse(content, name)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"line {getattr(error, 'lineno', None) or 1}") from error
    except (RecursionError, MemoryError) as error:  # a sum of thousands, for instance
        raise ValueError("line 1") from error
