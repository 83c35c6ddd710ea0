"""The documents name everything there is, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otjobs import attributes, environment_variables
from otjobs.integrations import _base

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_every_attribute_is_documented():
    page = (ROOT / "docs/reference/attributes.md").read_text()
    names = {value for key, value in vars(attributes).items() if key.isupper() and isinstance(value, str)}
    assert names
    missing = [name for name in names if f"`{name}" not in page]
    assert not missing


def test_nothing_is_documented_that_is_not_there():
    page = (ROOT / "docs/reference/attributes.md").read_text()
    told = set(re.findall(r"^\| `((?:otjobs|messaging|error)\.[a-z_.]+)", page, re.MULTILINE))
    assert told <= {value for value in vars(attributes).values() if isinstance(value, str)}


def test_every_setting_is_documented():
    page = (ROOT / "docs/reference/settings.md").read_text()
    names = {name for name in vars(environment_variables) if name.startswith("OTEL_")}
    assert names == set(re.findall(r"^\| `(OTEL_\w+)`", page, re.MULTILINE))


def test_the_page_on_new_libraries_names_only_what_the_base_offers():
    page = (ROOT / "docs/howto/new-integration.md").read_text()
    rows = page.partition("| what the base offers |")[2].partition("\n\n")[0]
    listed = set(re.findall(r"^\| `(\w+)`", rows, re.MULTILINE))
    assert len(listed) > 10
    assert listed | set(re.findall(r"\bbase\.(\w+)", page)) <= set(_base.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    broken = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not broken


def test_every_file_and_folder_that_the_architecture_names_exists():
    page = (ROOT / "docs/architecture.md").read_text()
    named = {
        name for name in re.findall(r"`([^`\s]+)`", page) if ("/" in name or name.endswith(".py")) and "<" not in name
    }
    assert len(named) > 30
    places = (ROOT, ROOT / "otjobs", ROOT / "otjobs/backend")
    assert {name for name in named if not any(any(place.glob(name)) for place in places)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_of_ours_that_a_page_names_exists(page):
    named = set(
        re.findall(r"`((?:otjobs|tests|bench|tools|docs|collector|grafana|deploy)/[\w./*-]+)`", page.read_text())
    )
    assert {name for name in named if "NAME" not in name and not any(ROOT.glob(name.rstrip("/")))} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_exists(page):
    named = set(re.findall(r"`((?:[\w/]+/)?test_\w+(?:\.py)?)`", page.read_text()))
    files = {name for name in named if name.endswith(".py")}
    assert {name for name in files if not any((ROOT / "tests").rglob(name)) and not (ROOT / name).exists()} == set()
    known = {
        found
        for path in (ROOT / "tests").rglob("test_*.py")
        for found in re.findall(r"def (test_\w+)\(", path.read_text())
    }
    assert {name for name in named - files if not any(test.startswith(name) for test in known)} == set()
