"""The routes that Vertex AI chooses for a container, as parts of nginx.conf.

Source: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
"""

import re

from serving.container.container_settings import ContainerSettings

# They answer as they are; a location of their own would hide the other methods, or lead to itself.
_NATIVE = re.compile(
    r"/readyz|/healthz|/(predictions|explanations)/fruity(/.*)?|/v1/models/fruity|/v2/health/.*|/v2/models/.*"
)
_READY = "rewrite ^ /readyz? last;"


def render_protocol(settings: ContainerSettings) -> str:
    """Return the entry of the map from a request's path to its protocol; empty without AIP_PREDICT_ROUTE."""
    route = settings.aip_predict_route
    return "" if route is None else rf'"~^{re.escape(route)}(\?|$)" vertex-ai;'


def render_locations(settings: ContainerSettings) -> str:
    """Return the locations that lead AIP_HEALTH_ROUTE to /readyz and AIP_PREDICT_ROUTE to /predictions/fruity."""
    health, predict = settings.aip_health_route, settings.aip_predict_route
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
