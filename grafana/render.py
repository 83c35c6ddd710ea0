"""Write the files Grafana reads: `python -m grafana.render` (with `--check`: only say whether they are up to date)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from grafana import alerts, provisioning
from grafana.overview import overview
from grafana.trace import trace

FOLDER = Path(__file__).parent
_HEAD = "# Written by `python -m grafana.render` from the Python files in grafana/: change those, and run it again.\n"


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are, and no references."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  (the base class's signature)
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def _yaml(content: dict[str, Any]) -> str:
    return _HEAD + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def rendered() -> dict[Path, str]:
    """Return path and text of every file that is written, below this folder."""
    found = {
        Path("provisioning/datasources/otjobs.yaml"): _yaml(provisioning.datasource()),
        Path("provisioning/dashboards/otjobs.yaml"): _yaml(provisioning.dashboards()),
        Path("provisioning/alerting/otjobs.yaml"): _yaml(alerts.rules()),
    }
    for dashboard in (overview(), trace()):
        text = json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"
        found[Path("dashboards") / f"{dashboard['uid']}.json"] = text
    return found


def stale(folder: Path = FOLDER) -> list[Path]:
    """Return the files that differ from what would be written now, missing and left-over ones included."""
    wanted = rendered()
    there = {
        path.relative_to(folder)
        for place in ("dashboards", "provisioning")
        for path in (folder / place).rglob("*")
        if path.is_file()
    }
    differ = {p for p in there & set(wanted) if (folder / p).read_text(encoding="utf-8") != wanted[p]}
    return sorted(differ | (there ^ set(wanted)))


def main() -> None:
    """Write the files, or check them."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of date")
    if options.parse_args().check:
        if found := stale():
            raise SystemExit(f"out of date: {', '.join(map(str, found))}; run: python -m grafana.render")
        return
    for path, text in rendered().items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_text(text, encoding="utf-8")
        print(FOLDER / path)


if __name__ == "__main__":
    main()
