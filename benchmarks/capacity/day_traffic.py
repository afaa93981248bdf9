"""A day of a food app: quiet at night, peaks at meals, and a burst at dinner, as when a campaign is sent out."""

import numpy as np
import numpy.typing as npt

DAY_S = 24 * 3600
# Rates are shares of what one instance can answer, so that the day fits any machine.
_NIGHT = 0.05
# Hour, rate at the peak and standard deviation in hours.
_MEALS = ((8.0, 0.5, 0.8), (12.5, 1.5, 0.8), (19.0, 2.5, 1.2))
# Beside the others, from one second to the next, for five minutes.
_BURST_HOUR, _BURST, _BURST_HOURS = 20.0, 4.0, 5 / 60


def plan_day(instance_rate: float) -> npt.NDArray[np.float64]:
    """Return the photos a second in each second of the day; *instance_rate* is what an instance can answer."""
    hours = np.arange(DAY_S) / 3600
    shares = np.full(DAY_S, _NIGHT)
    for hour, share, width in _MEALS:
        shares += share * np.exp(-0.5 * ((hours - hour) / width) ** 2)
    shares[(hours >= _BURST_HOUR) & (hours < _BURST_HOUR + _BURST_HOURS)] += _BURST
    return np.asarray(instance_rate * shares)
