"""Results into pages: text between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``."""

import re
from pathlib import Path


def write_between_markers(page: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of this name.

    Raises
    ------
    SystemExit
        If the page has no such markers.
    """
    pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    content = page.read_text(encoding="utf-8")
    if not pattern.search(content):
        raise SystemExit(f"{page.name} has no markers '<!-- begin {name} -->'; put them back")
    content = pattern.sub(lambda match: f"{match[1]}{text}\n{match[2]}", content)
    page.write_text(content, encoding="utf-8")
