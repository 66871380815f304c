"""Where independent trials run: processes of this machine, or an existing Dask cluster."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 10


@contextmanager
def workers(address: str | None) -> Iterator[None]:
    """Let `joblib.Parallel` inside the block use the cluster at `address`, if one is given.

    The cluster's machines need this package and the files that the recipe names.

    Raises:
        SettingError: no scheduler answers there.
    """
    if address is None:
        yield
        return
    import joblib
    from distributed import Client
    from distributed.comm.addressing import get_address_host_port

    try:
        get_address_host_port(address)  # a client that is given no address at all never ends
        client = Client(address, timeout=_SECONDS)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, asyncio.TimeoutError) as error:  # the last is Python 3.10's
        message = (
            f"--dask {address}: no scheduler answers ({type(error).__name__}); start one with "
            "`dask scheduler`, or leave the option out to use this machine"
        )
        raise SettingError(message) from error
    with client, joblib.parallel_config("dask"):
        yield
