"""A client beside the container: `get PATH`, `predict` or `load`; prints what it got as JSON.

It runs in a Python of the image, which has an archive with golden samples and no test code.
"""

import http.client
import json
import sys
import threading

from model_archive.golden import read_golden
from serving.model_store import choose_archive

PREDICT = "/predictions/fruity"
NUM_CLIENTS = 8
NUM_FIRST = 100


def ask(method: str, path: str, body: bytes | None = None) -> dict[str, object]:
    """Return the status and body; status 0 is a refused connection, -1 a lost request with its error as body."""
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=60)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return {"status": response.status, "body": response.read().decode(errors="replace")}
    except ConnectionRefusedError:
        return {"status": 0, "body": "refused"}
    except (OSError, http.client.HTTPException) as lost:
        return {"status": -1, "body": repr(lost)}
    finally:
        connection.close()


def load(photo: bytes) -> None:
    """Ask with several clients until the server refuses; print a line after the first answers, then all statuses."""
    statuses: list[object] = []

    def ask_until_refused() -> None:
        while (answer := ask("POST", PREDICT, photo))["status"] != 0:
            statuses.append(answer["status"] if answer["status"] != -1 else answer["body"])
            if len(statuses) == NUM_FIRST:
                show("under load")

    clients = [threading.Thread(target=ask_until_refused) for _ in range(NUM_CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    show({str(status): statuses.count(status) for status in set(statuses)})


def show(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main() -> None:
    verb, *arguments = sys.argv[1:]
    golden = read_golden(choose_archive())[0]
    if verb == "get":
        show(ask("GET", arguments[0]))
    elif verb == "predict":
        show({**ask("POST", PREDICT, golden.photo), "label": golden.label})
    elif verb == "load":
        load(golden.photo)


main()
