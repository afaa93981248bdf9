"""Generate the Grafana dashboards in deploy/monitoring/dashboards: python -m scripts.dashboards."""

from collections.abc import Mapping
from dataclasses import dataclass
from string import ascii_uppercase

from grafana_foundation_sdk.builders import bargauge, stat, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DashboardLink, DatasourceVariable
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BarGaugeDisplayMode, VizOrientation
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef

from serving.model_store import ROOT

FOLDER = ROOT / "deploy" / "monitoring" / "dashboards"
_SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
_Kind = type[timeseries.Panel] | type[stat.Panel] | type[bargauge.Panel]
LINES, NUMBERS, BARS = timeseries.Panel, stat.Panel, bargauge.Panel
GPU_MEMORY = "fruity_worker_gpu_memory_bytes or 0 * fruity_worker_memory_bytes"
# Width and height on Grafana's grid of 24 columns.
_SIZES: Mapping[_Kind, tuple[int, int]] = {LINES: (12, 8), NUMBERS: (6, 4), BARS: (12, 8)}


@dataclass(frozen=True)
class Panel:
    """Queries by legend; the unit is Grafana's name of it."""

    title: str
    unit: str
    queries: Mapping[str, str]
    text: str = ""
    kind: _Kind = LINES


def quantiles(metric: str) -> dict[str, str]:
    """Return the queries of a histogram's median and 99th percentile, by version."""
    rate = f"sum by (le, ModelVersion) (rate({metric}_bucket[$__rate_interval]))"
    return {f"{{{{ModelVersion}}}} p{q * 100:.0f}": f"histogram_quantile({q}, {rate})" for q in (0.5, 0.99)}


def per_second(metric: str, *by: str) -> dict[str, str]:
    """Return the query of a counter's rate, by some of its labels."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return {legend: f"sum by ({', '.join(by)}) (rate({metric}[$__rate_interval]))"}


SERVICE = (
    Panel("Ready", "short", {"containers": "sum(fruity_ready)"}, "That label their golden sample.", NUMBERS),
    Panel(
        "Error budget left",
        "percentunit",
        {"of 3 days": "1 - fruity:server_errors:ratio_rate3d / 0.001"},
        "The objective is 99.9 % of the requests without an error of the server.",
        NUMBERS,
    ),
    Panel(
        "Latency budget left",
        "percentunit",
        {"of 3 days": "1 - fruity:slow_answers:ratio_rate3d / 0.01"},
        "The objective is 99 % of the answers within half a second.",
        NUMBERS,
    ),
    Panel("Requests", "reqps", {"now": "sum(route_code:fruity_proxy_requests:rate5m)"}, kind=NUMBERS),
    Panel(
        "Requests by code",
        "reqps",
        {"{{route}} {{code}}": "route_code:fruity_proxy_requests:rate5m > 0"},
        "As clients see them; code 499: the client gave up.",
    ),
    Panel(
        "Latency",
        "s",
        {
            "{{route}} p50": "route:fruity_proxy_request_seconds:p50_5m",
            "{{route}} p99": "route:fruity_proxy_request_seconds:p99_5m",
        },
        "From a request's first byte to its answer's last, as clients see it.",
    ),
    Panel(
        "Burn rate of the error budget",
        "short",
        {"1 h": "fruity:server_errors:ratio_rate1h / 0.001", "6 h": "fruity:server_errors:ratio_rate6h / 0.001"},
        "1 uses the budget up exactly. Over 14.4 in an hour, or 6 in six, someone is called.",
    ),
    Panel(
        "Burn rate of the latency budget",
        "short",
        {"1 h": "fruity:slow_answers:ratio_rate1h / 0.01", "6 h": "fruity:slow_answers:ratio_rate6h / 0.01"},
    ),
    Panel("Waiting requests", "short", {"{{instance}}": "fruity_queued_requests"}, "The queue holds 100."),
    Panel(
        "Refused",
        "reqps",
        {"{{code}}": 'sum by (code) (route_code:fruity_proxy_requests:rate5m{code=~"429|503"})'},
        "503: the queue is full, or no worker is ready. 429: a client exceeds its own limit.",
    ),
    Panel("Photos by version", "cps", per_second("fruity_photos_total", "ModelVersion")),
    Panel("Requests in the handler", "reqps", per_second("fruity_requests_total", "Route", "Outcome")),
)

MODEL = (
    Panel("Outcomes", "percentunit", {"{{ModelVersion}} {{Outcome}}": "version_outcome:fruity_photos:share1h"}),
    Panel(
        "Unfamiliar photos",
        "percentunit",
        {"{{ModelVersion}}": "version:fruity_unfamiliar:share1h"},
        "About 5 % is the model's own choice of threshold.",
    ),
    Panel("Mean confidence", "percentunit", {"{{ModelVersion}}": "version:fruity_confidence:mean1h"}),
    Panel("Confidence", "percentunit", quantiles("fruity_confidence")),
    Panel("Entropy", "percentunit", quantiles("fruity_entropy"), "Of a photo's probabilities; 1: all labels alike."),
    Panel("Unfamiliarity", "short", quantiles("fruity_unfamiliarity"), "Over 1 a photo counts as unfamiliar."),
    Panel(
        "Most frequent labels",
        "percentunit",
        {"{{ModelVersion}} {{Label}}": "topk(12, version_label:fruity_labels:share1h)"},
        kind=BARS,
    ),
    Panel("Media types", "cps", per_second("fruity_media_types_total", "MediaType")),
    Panel("Decoding", "s", quantiles("fruity_decode_seconds"), "A photo, from its bytes to the model's input."),
    Panel("Preprocessing", "s", quantiles("fruity_preprocess_seconds")),
    Panel("Inference", "s", quantiles("fruity_inference_seconds"), "A batch in the engine."),
    Panel("Handler", "s", quantiles("fruity_handler_seconds"), "A batch, without queue and proxy."),
    Panel("Photos of a batch", "short", quantiles("fruity_batch_photos")),
)

DRIFT = (
    Panel(
        "PSI, an hour",
        "short",
        {"{{ModelVersion}} {{Statistic}}": "version_statistic:fruity_psi:1h"},
        "About 0 without drift, 0.1 moderate, 0.25 large. Given from 200 photos on.",
    ),
    Panel(
        "PSI, a day",
        "short",
        {"{{ModelVersion}} {{Statistic}}": "version_statistic:fruity_psi:1d"},
        "Given from 1000 photos on.",
    ),
    Panel(
        "Photos compared",
        "short",
        {"{{ModelVersion}} in an hour": "max by (ModelVersion) (version_statistic:fruity_photos:increase1h)"},
    ),
    Panel(
        "Largest shifts of labels",
        "percentunit",
        {"{{ModelVersion}} {{Bin}}": 'topk(10, abs(version_statistic_bin:fruity_shift:share1h{Statistic="label"}))'},
        "Share of the photos of an hour, less that of the reference, without its sign.",
        BARS,
    ),
    Panel(
        "Shifts of the statistics",
        "percentunit",
        {"{{Statistic}} {{Bin}}": 'topk(10, abs(version_statistic_bin:fruity_shift:share1h{Statistic!="label"}))'},
        "By bin: 0 has the lowest tenth of the reference, 9 the highest.",
        BARS,
    ),
    Panel("Brightness", "percentunit", quantiles("fruity_brightness")),
    Panel("Contrast", "percentunit", quantiles("fruity_contrast")),
    Panel("Sharpness", "percentunit", quantiles("fruity_sharpness")),
    Panel("Anisotropy", "percentunit", quantiles("fruity_anisotropy")),
    Panel("Sides of photos", "short", quantiles("fruity_photo_side_pixels"), "In pixels."),
    Panel("Size of photos", "bytes", quantiles("fruity_photo_bytes")),
)

SYSTEM = (
    Panel(
        "CPU",
        "percentunit",
        {
            "{{instance}} used": "rate(fruity_cpu_seconds_total[$__rate_interval]) / fruity_cpus",
            "{{instance}} taken by the limit": "rate(fruity_cpu_throttled_seconds_total[$__rate_interval])",
        },
    ),
    Panel(
        "Memory",
        "bytes",
        {"{{instance}} used": "fruity_memory_used_bytes", "{{instance}} limit": "fruity_memory_limit_bytes"},
    ),
    Panel("Memory by kind of process", "bytes", {"{{instance}} {{kind}}": "fruity_process_memory_bytes"}, "PSS."),
    Panel("Memory of the workers", "bytes", {"{{ModelVersion}} {{Worker}}": "fruity_worker_memory_bytes"}),
    Panel("GPU memory of the workers", "bytes", {"{{ModelVersion}} {{Worker}}": GPU_MEMORY}, "0 without a GPU."),
    Panel("Processes", "short", {"{{instance}} {{kind}}": "fruity_processes"}),
    Panel(
        "Starts of workers, kills for lack of memory",
        "short",
        {
            "{{ModelVersion}} starts": "sum by (ModelVersion) (increase(fruity_worker_starts_total[15m]))",
            "{{instance}} kills": "increase(fruity_oom_kills_total[15m])",
        },
        "In 15 minutes.",
    ),
    Panel("Free disk of the run folder", "percentunit", {"{{instance}}": "fruity_disk_free_bytes / fruity_disk_bytes"}),
    Panel("Open files and connections", "short", {"{{instance}} {{kind}}": "fruity_open_files"}),
    Panel("Prediction log", "cps", per_second("fruity_logged_photos_total", "Outcome"), "Photos."),
    Panel("Scraped", "short", {"{{job}} {{instance}}": 'up{job=~"fruity.*"}'}),
)

DASHBOARDS = {"service": SERVICE, "model": MODEL, "drift": DRIFT, "system": SYSTEM}


def render(name: str) -> str:
    """Return the JSON of one of DASHBOARDS; Grafana's data source is chosen in it."""
    dashboard = (
        Dashboard(f"fruity: {name}")
        .uid(f"fruity-{name}")
        .tags(["fruity"])
        .timezone("browser")
        .refresh("30s")
        .time("now-6h", "now")
        .with_variable(DatasourceVariable("source").label("Prometheus").type("prometheus"))
        .link(DashboardLink("fruity").type(DashboardLinkType.DASHBOARDS).tags(["fruity"]).keep_time(True))
    )
    for number, panel in enumerate(DASHBOARDS[name], start=1):
        dashboard.with_panel(_build_panel(panel).id(number))
    return JSONEncoder(indent=1, sort_keys=True).encode(dashboard.build()) + "\n"


def _build_panel(panel: Panel) -> timeseries.Panel | stat.Panel | bargauge.Panel:
    width, height = _SIZES[panel.kind]
    built = panel.kind().title(panel.title).unit(panel.unit).datasource(_SOURCE).span(width).height(height)
    if panel.text:
        built.description(panel.text)
    if isinstance(built, bargauge.Panel):
        built.orientation(VizOrientation.HORIZONTAL).display_mode(BarGaugeDisplayMode.BASIC)
    if not isinstance(built, timeseries.Panel):
        built.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
    for letter, (legend, query) in zip(ascii_uppercase, panel.queries.items(), strict=False):
        built.with_target(Dataquery().ref_id(letter).expr(query).legend_format(legend).datasource(_SOURCE))
    return built


def main() -> None:
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(render(name))


if __name__ == "__main__":
    main()
