"""A day of a food app: quiet at night, peaks at meals, and a burst at dinner, as when a campaign is sent out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DAY_S = 24 * 3600


@dataclass(frozen=True)
class Traffic:
    """Rates in shares of what one instance can answer, so that the day fits any machine."""

    night: float = 0.05
    meals: tuple[tuple[float, float, float], ...] = ((8.0, 0.5, 0.8), (12.5, 1.5, 0.8), (19.0, 2.5, 1.2))
    """Hour, rate at the peak and standard deviation in hours of each."""
    burst_hour: float = 20.0
    burst: float = 4.0
    """Beside the others, from one second to the next."""
    burst_minutes: float = 5.0

    def rates(self, instance_rate: float) -> npt.NDArray[np.float64]:
        """Return the photos a second in each second of the day; *instance_rate* is what an instance can answer."""
        hours = np.arange(DAY_S) / 3600
        shares = np.full(DAY_S, self.night)
        for hour, share, width in self.meals:
            shares += share * np.exp(-0.5 * ((hours - hour) / width) ** 2)
        shares[(hours >= self.burst_hour) & (hours < self.burst_hour + self.burst_minutes / 60)] += self.burst
        return np.asarray(instance_rate * shares)
