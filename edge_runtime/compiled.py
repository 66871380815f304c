"""Functions compiled by Numba: kept on disk where that is possible, compiled anew where not."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., Any]")

_LOG = logging.getLogger(__name__)


def compiled(**options: Any) -> Callable[[Function], Function]:  # noqa: ANN401
    """Return the decorator `numba.njit(cache=True, **options)`, which fails in no folder.

    Numba keeps what it compiled in $NUMBA_CACHE_DIR, beside the source, or in the user's cache. Of
    a read-only installation without a home that can be written, it refuses even the import.
    """

    def decorate(function: Function) -> Function:
        try:
            fast: Function = njit(cache=True, **options)(function)
        except RuntimeError:  # and nothing else is asked of the disk before the first call
            _say_once()
            fast = njit(**options)(function)
        return fast

    return decorate


@cache
def _say_once() -> None:
    _LOG.warning(
        "compiled functions cannot be kept, so that every start compiles them again, for some "
        "seconds: neither the installation nor the user's cache can be written; let "
        "NUMBA_CACHE_DIR name a folder that can"
    )
