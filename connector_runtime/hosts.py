"""The hosts that a connector declares, and where they are for one environment."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit


def origins(declared: Mapping[str, str], base_url: str) -> dict[str, str]:
    """Return each declared host's origin, where the service is reached at `base_url`.

    `base_url` is the address of the first declared host. Labels that it has after the first one
    (an edge, a region) are put into the other hosts too: with api.example.com declared,
    https://api.dublin.ie1.example.com leads to https://files.dublin.ie1.example.com. Where
    `base_url` is any other address (a sandbox, a relay), all hosts are at that address.
    """
    if not declared:
        return {}
    first = urlsplit(next(iter(declared.values())))
    base = urlsplit(base_url)
    own_first, _, own_rest = (first.hostname or "").partition(".")
    first_label, _, rest = (base.hostname or "").partition(".")
    labels = rest.removesuffix(own_rest) if rest.endswith(f".{own_rest}") else ""
    is_first = first_label == own_first and (rest == own_rest or labels)
    if not is_first or base.scheme != first.scheme or base.port not in (None, first.port, 443):
        return dict.fromkeys(declared, f"{base.scheme}://{base.netloc}")
    placed = {}
    for name, address in declared.items():
        label, _, after = (urlsplit(address).hostname or "").partition(".")
        placed[name] = f"{first.scheme}://{label}.{labels}{after}"
    return placed
