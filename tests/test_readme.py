import re
from pathlib import Path

from tests.handler.worker import Worker

README = Path(__file__).parent.parent / "README.md"


def test_the_readme_shows_what_the_default_model_answers_for_its_photo(default_folder: Path, coffee: bytes) -> None:
    """On a CPU that computes in float32; bfloat16 gives other digits."""
    [shown] = re.findall(r'"espresso","probability":[\d.]+', README.read_text())

    [response] = Worker(default_folder, precision="float32").answer(({"body": coffee}, {}))

    assert shown in response.body.decode()
