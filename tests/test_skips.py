from tests.skips import summarize_skips


def test_skipped_tests_are_grouped_by_what_makes_them_run() -> None:
    reasons = ["Skipped: there is no CUDA device", "Skipped: nginx is not installed", "nginx is missing", "a full moon"]

    summary = summarize_skips(reasons)

    assert summary.startswith("skipped 4 tests; to run them: apt-get install nginx libnginx-mod-http-js (2), ")
    assert "a CUDA device (1)" in summary
    assert "a full moon (1)" in summary
