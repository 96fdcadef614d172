"""What the built-in sets share."""

from __future__ import annotations

from aecompress.data.base import Request
from aecompress.errors import DataError


def check_whole(request: Request) -> None:
    """Refuse a key or columns of a built-in set.

    Raises:
        DataError: with the field to leave out.
    """
    for field, value in (("data.key (--key)", request.key), ("data.columns (--columns)", request.columns)):
        if value:
            raise DataError(
                f"{request.source}: is built in and has no parts to choose, so leave out {field} = {value!r:.200}"
            )
