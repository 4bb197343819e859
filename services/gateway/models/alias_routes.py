"""/v1/models/{name}/aliases: movable names, changed only by who has seen their present state"""

from typing import Annotated

from fastapi import Header, Path, Response
from pydantic import AfterValidator

from libs.registry.errors import BadReference
from libs.registry.references import check_alias
from libs.web.etags import etag
from libs.web.problems import responses
from libs.web.routing import Router
from services.gateway.context import Gw
from services.gateway.models import service
from services.gateway.models.routes import ModelName, Reader, Writer
from services.gateway.models.schemas import Alias, AliasRequest

router = Router(prefix="/v1/models/{name}/aliases", tags=["models"])


def _usable(alias: str) -> str:
    try:
        return check_alias(alias)
    except BadReference as error:
        raise ValueError(str(error)) from None


AliasName = Annotated[
    str,
    AfterValidator(_usable),
    Path(examples=["production"], json_schema_extra={"pattern": "^[a-z0-9._-]{1,64}$"}),
]
IfMatch = Annotated[
    str | None, Header(alias="If-Match", max_length=40, description='The ETag that was read, like "3", or `*`.')
]

IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", max_length=40, description="`*`: only if there is no such alias yet.")
]


@router.get("", responses=responses(404))
def list_aliases(caller: Reader, gateway: Gw, name: ModelName) -> list[Alias]:
    """A model's aliases by name."""
    with gateway.reading() as session:
        return service.alias_list(session, caller.project_id, name)


@router.get("/{alias}", responses=responses(404))
def get_alias(caller: Reader, gateway: Gw, name: ModelName, alias: AliasName, response: Response) -> Alias:
    """One alias; its `ETag` is what `If-Match` wants."""
    with gateway.reading() as session:
        found = service.alias(session, caller.project_id, name, alias)
    response.headers["ETag"] = etag(found.revision)
    return found


@router.put("/{alias}", responses=responses(404, 412, 428))
def set_alias(
    caller: Writer,
    gateway: Gw,
    name: ModelName,
    alias: AliasName,
    body: AliasRequest,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Alias:
    """Point an alias at a ready version. One that exists is moved only with `If-Match`: 412 when it changed since.

    Deployments that follow the alias load the new version and switch to it when it is ready.
    """
    with gateway.writing() as session:
        moved = service.set_alias(session, caller.project_id, name, alias, body.version, if_match, if_none_match)
    response.headers["ETag"] = etag(moved.revision)
    return moved


@router.delete("/{alias}", status_code=204, responses=responses(404, 409, 412))
def delete_alias(caller: Writer, gateway: Gw, name: ModelName, alias: AliasName, if_match: IfMatch = None) -> None:
    """Remove an alias that no deployment follows."""
    with gateway.writing() as session:
        service.delete_alias(session, caller.project_id, name, alias, if_match)
