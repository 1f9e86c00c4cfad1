"""The runbooks, docs/RUNBOOKS.md, as panels of one dashboard: a link to one
works wherever Grafana is."""

import re
import zlib
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "docs" / "RUNBOOKS.md"
UID = "switchboard-runbooks"


def sections():
    """Heading → text, of every section of the second level."""
    parts = re.split(r"^## (.+)$", SOURCE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], (text.strip() for text in parts[2::2])))


def panel(heading):
    """The section's panel: a number that stays when others come and go."""
    return zlib.crc32(heading.encode()) % 9000 + 1000


def link(heading):
    if heading not in sections():
        raise SystemExit(f"{SOURCE.name} has no section `{heading}`")
    return f"/d/{UID}?viewPanel={panel(heading)}"
