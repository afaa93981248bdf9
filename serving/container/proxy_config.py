"""nginx.conf for the container's settings: dockerfiles/serve/nginx.conf with its %{names} filled in."""

import os
import re
import resource
import string
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from serving.container.container_settings import ContainerSettings

DRAIN_S = 6
"""For requests in flight after SIGTERM; of the 10 s in all, closing connections and stopping the JVM take the rest."""

_ROOT = Path(__file__).parents[2]
_CONFIG_FOLDER = _ROOT / "dockerfiles" / "serve"
_MAX_FILES = 32_768

# Of the access log; serving/container/traces.py reads them.
_TRACE_FIELDS = '"traceparent":"00-$trace_id-$span_id-$trace_flags","parent_span":"$parent_span","end_s":$msec,'

# They answer as they are; a location of their own would hide the other methods, or lead to itself.
_NATIVE = re.compile(
    r"/readyz|/healthz|/(predictions|explanations)/fruity(/.*)?|/v1/models/fruity|/v2/health/.*|/v2/models/.*"
)
_READY = "rewrite ^ /readyz? last;"


class _NginxTemplate(string.Template):
    delimiter = "%"


def render_config(settings: ContainerSettings, inference: str) -> str:
    """Return nginx.conf for *settings* and the TorchServe at the base URL *inference*."""
    folder, per_client, route = settings.run_folder, settings.requests_per_client, settings.aip_predict_route
    tls = f'    ssl_certificate "{settings.tls_certificate}";\n    ssl_certificate_key "{settings.tls_key}";\n'
    tls = f"ssl http2;\n{tls}    ssl_protocols TLSv1.2 TLSv1.3;\n    ssl_session_cache shared:tls:2m"
    proxies = [f"set_real_ip_from {network};" for network in settings.trusted_proxies]
    proxies += ["real_ip_header X-Forwarded-For;", "real_ip_recursive on;"] if proxies else []
    corrections = _fill("corrections.conf", folder=folder) if settings.corrections_uri else ""
    is_traced = settings.otel_exporter_otlp_endpoint is not None
    traces = _fill("traces.conf", share=f"{100 * settings.otel_traces_sampler_arg:.2f}") if is_traced else ""
    return _fill(
        "nginx.conf",
        folder=folder,
        # Only root can start workers as another user, and that user could not read the folder.
        user="user root;" if os.geteuid() == 0 else "",
        script_folder=_CONFIG_FOLDER,
        files=min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], _MAX_FILES),
        drain_s=DRAIN_S,
        proxies="\n  ".join(proxies),
        keys=_render_keys(settings),
        client_field='"client":"$client",' if settings.api_keys else "",
        traces=traces,
        trace_fields=_TRACE_FIELDS if is_traced else "",
        corrections=corrections,
        protocols=_fill("protocols.conf", folder=folder),
        vertex_ai=rf'"~^{re.escape(route)}(\?|$)" vertex-ai;' if route is not None else "",
        routes_of_vertex_ai=_render_locations(settings.aip_health_route, route),
        origins=_match_origins(settings.cors_origins),
        rate_zone=f"limit_req_zone $binary_remote_addr zone=requests:4m rate={per_client}r/s;" if per_client else "",
        rate=f"limit_req zone=requests burst={2 * per_client} nodelay;" if per_client else "",
        connections_per_client=settings.connections_per_client,
        inference=urlsplit(inference).netloc,
        listen=f"listen {settings.port} {tls if settings.tls_certificate else ''};",
        api_page=_CONFIG_FOLDER / "api_page",
        swagger_ui=files("swagger_ui") / "static",
        openapi=_ROOT / "docs" / "openapi.yaml",
    )


def _render_keys(settings: ContainerSettings) -> str:
    """Return what sets nginx's variable $client to the name of the request's key, to nothing for an invalid one."""
    if not settings.api_keys:
        return 'map "" $client {\n    default anonymous;\n  }'
    keys = f'js_preload_object keys from "{settings.run_folder}/keys.json";'
    return f"js_import api_keys from api_keys.js;\n  {keys}\n  js_set $client api_keys.client;"


def _fill(name: str, **values: object) -> str:
    """Return the part *name* of the configuration with *values* in place of its %{names}."""
    return _NginxTemplate((_CONFIG_FOLDER / name).read_text()).substitute(values)


def _match_origins(origins: Iterable[str]) -> str:
    """Return the entries of nginx's map from an Origin to the one that is allowed."""
    entries = ('"~." "*";' if origin == "*" else f'"{origin}" $http_origin;' for origin in origins)
    return "\n    ".join(entries)


def _render_locations(health: str | None, predict: str | None) -> str:
    """Return the locations that lead the routes of Vertex AI to /readyz and /predictions/fruity.

    Source: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
    """
    locations = {}
    if predict is not None:
        locations[predict] = "rewrite ^ /predictions/fruity? last;"
    if health is not None:
        # Of one route for both, Vertex AI gets readiness and posts photos.
        readiness = f'if ($request_method ~ "^(GET|HEAD)$") {{ {_READY} }}' if health == predict else _READY
        locations[health] = f"{readiness} {locations.get(health, '')}"
    return "\n    ".join(
        f"location = {route} {{ {rewrites} }}" for route, rewrites in locations.items() if not _NATIVE.fullmatch(route)
    )
