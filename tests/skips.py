"""Which tests were skipped, in one line that says what to install for them."""

from collections import Counter
from collections.abc import Iterable

# A word of the reason, and what makes the test run.
FIXES = {
    "nginx": "apt-get install nginx libnginx-mod-http-js",
    "promtool": "apt-get install prometheus",
    "kubectl": "kubectl or kustomize on the PATH",
    "namespaces": "root and apt-get install iproute2",
    "browser": "apt-get install chromium",
    "IMAGE": "make image image-test (needs docker or podman)",
    "peers": "make bench",
    "grocery": "the Grocery Store dataset in ../shared/data/grocery",
    "CUDA": "a CUDA device",
    "release": "dvc pull, or make fetch-run RUN_ID=… of release.toml",
}


def summarize_skips(reasons: Iterable[str]) -> str:
    """Return "skipped 3 tests; to run them: make bench (2), …", most first."""
    fixes = Counter(next((fix for word, fix in FIXES.items() if word in reason), reason) for reason in reasons)
    listed = ", ".join(f"{fix} ({count})" for fix, count in fixes.most_common())
    return f"skipped {fixes.total()} tests; to run them: {listed}"
