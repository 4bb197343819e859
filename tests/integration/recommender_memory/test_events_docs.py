"""docs/events.md: its requests work as printed, one after the other."""

import re
import shlex
from pathlib import Path
from uuid import UUID

from fastapi.testclient import TestClient
from httpx2 import Response

from services.recommender.memory import Memory
from tests.support.memory import record

PAGE = Path(__file__).parents[3] / "docs" / "events.md"


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return "".join(blocks).replace("\\\n", " ").splitlines()


def run(client: TestClient, command: str, variables: dict[str, str]) -> Response:
    text = re.sub(r"\$(\w+)", lambda found: variables[found[1]], command)
    words = iter(shlex.split(text)[1:])
    method, headers, address, body = "GET", {}, "", None
    for word in words:
        if word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-X":
            method = next(words)
        elif word == "-d":
            method, body = "POST", next(words)
        else:
            address = word
    return client.request(method, address, headers=headers, content=body)


def test_every_request_works_as_printed(client: TestClient, memory: Memory):
    variables = {"OCTAVO_URL": "http://testserver", "AUTH": f"Authorization: {client.headers['Authorization']}"}
    answers: list[Response] = []
    for command in commands():
        if command.startswith("export REQUEST="):
            variables["REQUEST"] = command.partition("=")[2]
            request_id = UUID(variables["REQUEST"])
            memory.recorder.record_recommendation(record(["661", "1193"], request_id=request_id))
        elif command.startswith("curl"):
            answers.append(run(client, command, variables))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 204, 204, 200, 200, 200, 200]
    first, second, of_user, of_session, _, _, explained, fed_back, summary, of_shop = answers
    assert (first.json(), second.json()) == ({"accepted": 1, "duplicates": 0}, {"accepted": 1, "duplicates": 1})
    assert [one["item_id"] for one in of_user.json()["items"]] == ["661"]
    assert [one["item_id"] for one in of_session.json()["items"]] == ["1193", "661"]
    assert [one["item_id"] for one in explained.json()["items"]] == ["661", "1193"]
    assert fed_back.json() == {"recorded": 3, "duplicates": 0}
    assert summary.json()["versions"][0]["ctr"]["value"] == 0.5
    assert of_shop.json()["variants"] == summary.json()["variants"]
