"""The demo's configuration: jobs.toml as in production, but for schedules of seconds and short limits."""

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from string import Template

from stage import ACADEMY, HERE, MARK

INVOICE_TIMEOUT_SECONDS = 10
INVOICE_GRACE_SECONDS = 2
STATISTICS_EVERY_SECONDS = 5
# The invoice job fires once a minute, and for the first time this long after the configuration was written.
FIRST_INVOICE_SECONDS = 8

TEXT = Template("""\
timezone = "Asia/Seoul"
language = "ko"

[channels.ops]
type = "slack"
url = "http://127.0.0.1:$webhook/slack"

[defaults]
timeout = "1m"
catch_up = "latest"
alert = ["ops"]
env = { $environment }

[jobs.attendance_notification]
schedule = "*/5 * * * * *"
command = [$attendance_notification]

[jobs.invoice_generation]
schedule = "$invoice_second * * * * *"
command = [$invoice_generation]
timeout = "${invoice_timeout}s"
kill_grace = "${invoice_grace}s"

[jobs.statistics_aggregation]
schedule = "*/$statistics_every * * * * *"
command = [$statistics_aggregation]

[jobs.backup]
schedule = "*/5 * * * * *"
command = [$backup]

# Half a year away: the demo starts this one by hand.
[jobs.slow_export]
schedule = "0 0 0 1 $far_month *"
command = [$slow_export]
""")


def jobs_toml(now: datetime, folder: Path, database: Path, marks: Path, webhook: int, mail: int) -> str:
    """The file's text. ``now`` is in the zone of the schedules; ``webhook`` and ``mail`` are ports."""
    environment = {
        MARK: str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "ACADEMY_DB": str(database),
        "ACADEMY_WEBHOOK_URL": f"http://127.0.0.1:{webhook}/guardians",
        "ACADEMY_SMTP": f"127.0.0.1:{mail}",
    }
    return TEXT.substitute(
        webhook=webhook,
        environment=", ".join(f"{name} = {_quoted(value)}" for name, value in environment.items()),
        invoice_second=(now + timedelta(seconds=FIRST_INVOICE_SECONDS)).second,
        invoice_timeout=INVOICE_TIMEOUT_SECONDS,
        invoice_grace=INVOICE_GRACE_SECONDS,
        statistics_every=STATISTICS_EVERY_SECONDS,
        far_month=(now.month + 5) % 12 + 1,
        attendance_notification=_python(ACADEMY / "attendance_notification.py"),
        invoice_generation=_python(ACADEMY / "invoice_generation.py"),
        statistics_aggregation=_python(ACADEMY / "statistics_aggregation.py"),
        backup=_python(ACADEMY / "backup.py"),
        slow_export=_python(HERE / "slow_export.py", marks),
    )


def entry(text: str, job: str) -> str:
    """The part of the text that registers a job."""
    return text.partition(f"[jobs.{job}]")[1] + text.partition(f"[jobs.{job}]")[2].partition("\n\n")[0]


def _python(script: Path, *arguments: Path) -> str:
    """A command's elements, separated by commas."""
    return ", ".join(_quoted(str(part)) for part in (sys.executable, script, *arguments))


def _quoted(text: str) -> str:
    """Text as a TOML string. A JSON string is one too, unless it names a character outside the first 65536."""
    return json.dumps(text, ensure_ascii=False)
