"""What a verb needs before it can begin: the packages of the extra."""

from __future__ import annotations

from rnn.extra import advice, missing_packages


def need_extra() -> None:
    """Refuse to go on without the packages of the extra [rnn].

    Raises
    ------
    ModuleNotFoundError
        If one cannot be found; the message says how to get them.
    """
    missing = missing_packages()
    if missing:
        raise ModuleNotFoundError(advice("this verb", missing))
