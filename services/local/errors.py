"""What can go wrong on one machine.

LocalStackError
├── NotInstalledError       a wheel, a binary or an account is missing
├── AlreadyRunningError     another process holds this folder
├── StartError              a service ended or did not answer in time; carries the end of its log
├── StillStopsError         it needs longer to stop than it may
└── ClusterVersionError     the database files belong to another major version of Postgres
"""


class LocalStackError(RuntimeError):
    """Something of the local stack cannot be done; the message says what to do next."""


class NotInstalledError(LocalStackError):
    """A wheel, a binary or an account that the local stack needs is not there."""


class AlreadyRunningError(LocalStackError):
    """Another process holds this folder."""


class StartError(LocalStackError):
    """A service ended at once or did not become ready in time."""


class StillStopsError(LocalStackError):
    """The stack needs longer to stop than it may."""


class ClusterVersionError(LocalStackError):
    """The database files were made by a major version of Postgres that is not installed."""
