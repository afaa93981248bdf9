import httpx

from benchmarks.client_photos import limit_upload
from tests.http_server import Request, serve_http


def test_requests_and_answers_pass_the_link_as_they_are() -> None:
    bodies: list[bytes] = []

    def answer(request: Request) -> tuple[int, object]:
        bodies.append(request.body)
        return 200, request.body

    sent = [bytes([number]) * 100_000 for number in range(3)]
    with serve_http(answer) as url, limit_upload(url, mbit_per_s=1000) as link, httpx.Client(base_url=link) as client:
        answers = [client.post("/", content=body).content for body in sent]

    assert bodies == answers == sent
