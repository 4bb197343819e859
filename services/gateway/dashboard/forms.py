"""Bodies of HTML forms, `application/x-www-form-urlencoded`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

from fastapi import Request

from libs.web.problems import UnprocessableError, UnsupportedMediaTypeError

MEDIA_TYPE = "application/x-www-form-urlencoded"
_MOST_FIELDS = 1000


@dataclass(frozen=True, slots=True)
class FormData:
    """The fields of a form in the order they came; a name may come more than once."""

    fields: Sequence[tuple[str, str]] = ()

    def get(self, name: str, default: str = "") -> str:
        """The last value of a field, without blanks around it."""
        return next((value.strip() for key, value in reversed(self.fields) if key == name), default)

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value.strip() for key, value in self.fields if key == name]

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.fields)

    def below(self, prefix: str) -> Iterator[tuple[str, str]]:
        """The rest of the name and the value of each field that begins with `prefix` and is not empty."""
        for key, value in self.fields:
            if key.startswith(prefix) and value.strip():
                yield key.removeprefix(prefix), value.strip()


def is_form(request: Request) -> bool:
    """Whether the body says it is a form."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == MEDIA_TYPE


async def read_form(request: Request) -> FormData:
    """The fields of the request's form; none when there is no body.

    Raises:
        UnsupportedMediaTypeError: the body is something else.
        UnprocessableError: it is no form in UTF-8, or it has too many fields.
    """
    body = await request.body()
    if not body:
        return FormData()
    if not is_form(request):
        raise UnsupportedMediaTypeError(f"Send a form: `Content-Type: {MEDIA_TYPE}`.")
    try:
        found = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise UnprocessableError(f"This is not a form in UTF-8 of at most {_MOST_FIELDS} fields.") from None
    return FormData(found)
