"""The times a cron expression names, in a time zone with all that clocks do there.

CronSim reads expressions as Debian's cron does, weekdays and changes of the clocks
included: a run at a time of day that is skipped happens at once, one at a time that
comes twice happens once, and a run every so often goes on every so often.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from cronsim import CronSim, CronSimError

from models.errors import ConfigError, nearest


class CronSchedule(msgspec.Struct, frozen=True):
    """A cron expression in a time zone; what goes in and comes out is in UTC."""

    cron: str
    zone: str

    @classmethod
    def of(cls, cron: str, zone: str) -> CronSchedule:
        """Return a clock; ConfigError if there is no such time or zone."""
        if zone not in available_timezones():
            raise ConfigError(
                f"there is no time zone '{zone}'{nearest(zone, available_timezones())}"
            )
        clock = cls(cron, zone)
        try:
            if len(cron.split()) != 5:
                raise CronSimError("there must be five fields")
            clock.after(datetime.now(UTC))
        except (CronSimError, StopIteration) as error:
            reason = str(error) or "no day has that date"
            raise ConfigError(
                f"--cron '{cron}': {reason[:1].lower()}{reason[1:]}; write minute, "
                "hour, day of month, month and day of week, as in '0 3 * * *'"
            ) from None
        return clock

    def after(self, moment: datetime) -> datetime:
        """Return the first time after a moment."""
        times = CronSim(self.cron, moment.astimezone(ZoneInfo(self.zone)))
        # Within an hour that comes twice CronSim begins at its first coming.
        while (found := next(times).astimezone(UTC)) <= moment:
            pass
        return found

    def show(self, moment: datetime) -> str:
        """Return a moment as people of the time zone write it."""
        local = moment.astimezone(ZoneInfo(self.zone))
        return local.isoformat(" ", timespec="seconds")
