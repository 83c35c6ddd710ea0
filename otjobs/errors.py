"""The error tree.

::

    OtjobsError
    ├── ConfigurationError      a setting or argument that cannot be used
    ├── MissingExtraError       an optional library is not installed; names the extra
    ├── StoreError
    │   ├── StoreUnreachableError   nobody answers at the given address
    │   ├── AccountError            the database refused the name or the password
    │   ├── NewerSchemaError        the database was migrated by a newer otjobs
    │   └── QueryError              the database refused a statement
    │       └── RightsError             the account may not do it
    └── ServerError
        ├── PortInUseError          another process listens there
        └── FolderInUseError        another process holds the data folder

Only start-up and command-line code raises these. Inside a running service nothing of otjobs raises: `guard`, from
`otjobs.faults`, turns every fault into a counted warning.
"""

from __future__ import annotations

from otjobs.faults import fault_counts, guard, warn

__all__ = [
    "AccountError",
    "ConfigurationError",
    "FolderInUseError",
    "MissingExtraError",
    "NewerSchemaError",
    "OtjobsError",
    "PortInUseError",
    "QueryError",
    "RightsError",
    "ServerError",
    "StoreError",
    "StoreUnreachableError",
    "fault_counts",
    "guard",
    "warn",
]


class OtjobsError(Exception):
    """The base of every error that otjobs raises."""

    lines: tuple[str, ...] = ()
    """What a command shows below the message, such as the end of a log."""


class ConfigurationError(OtjobsError):
    """A setting or an argument cannot be used."""


class MissingExtraError(OtjobsError):
    """An optional library is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; install it with: pip install 'otjobs[{extra}]'")


class StoreError(OtjobsError):
    """Something is wrong between otjobs and its database."""


class StoreUnreachableError(StoreError):
    """Nobody answers at the given database address."""


class AccountError(StoreError):
    """The database refused the name or the password of the account."""


class NewerSchemaError(StoreError):
    """The database was migrated by a newer otjobs than this one."""


class QueryError(StoreError):
    """The database refused a statement."""


class RightsError(QueryError):
    """The account may not do that."""


class ServerError(OtjobsError):
    """The embedded server cannot do what it was asked to."""


class PortInUseError(ServerError):
    """Another process listens on a port that the embedded server needs."""


class FolderInUseError(ServerError):
    """Another process holds the data folder."""
