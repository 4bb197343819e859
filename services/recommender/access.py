"""Who may tell and ask what about users."""

from typing import Annotated

from fastapi import Security

from libs.web.auth import Caller, Scope, authenticate

WritesEvents = Annotated[Caller, Security(authenticate, scopes=[Scope.EVENTS_WRITE])]
ReadsEvents = Annotated[Caller, Security(authenticate, scopes=[Scope.EVENTS_READ])]
ErasesEvents = Annotated[Caller, Security(authenticate, scopes=[Scope.EVENTS_ERASE])]
