"""The times that a cron expression names in a time zone.

CronSim reads expressions as Debian's cron does, including weekdays and changes of the
clock: a daily run at a time that is skipped starts at once, one at a time that occurs
twice starts once, and intervals such as */15 keep their length.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from cronsim import CronSim, CronSimError

from models.errors import ConfigError, nearest


class CronSchedule(msgspec.Struct, frozen=True):
    """A cron expression in a time zone; all moments passed and returned are UTC."""

    cron: str
    zone: str

    @classmethod
    def parse(cls, cron: str, zone: str) -> CronSchedule:
        """Return a schedule; raise ConfigError if the expression or zone is invalid."""
        if zone not in available_timezones():
            raise ConfigError(
                f"there is no time zone '{zone}'{nearest(zone, available_timezones())}"
            )
        schedule, reason = cls(cron, zone), ""
        try:
            if len(cron.split()) != 5:
                reason = "expected five fields"
            else:
                schedule.next_after(datetime.now(UTC))
        except (CronSimError, StopIteration) as error:
            reason = str(error) or "no day has that date"
        if reason:
            raise ConfigError(
                f"--cron '{cron}': {reason[:1].lower()}{reason[1:]}; write minute, "
                "hour, day of month, month and day of week, as in '0 3 * * *'"
            )
        return schedule

    def next_after(self, moment: datetime) -> datetime:
        """Return the first scheduled time after a moment."""
        times = CronSim(self.cron, moment.astimezone(ZoneInfo(self.zone)))
        # Within an hour that occurs twice, CronSim starts from its first occurrence.
        while (time := next(times).astimezone(UTC)) <= moment:
            pass
        return time

    def local_time(self, moment: datetime) -> str:
        """Return a moment as text in the time zone."""
        local = moment.astimezone(ZoneInfo(self.zone))
        return local.isoformat(" ", timespec="seconds")
