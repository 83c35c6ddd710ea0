"""docker-compose.yml as Docker Compose reads it, and ClickHouse with its accounts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clickhouses
import parts

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FILE = ROOT / "docker-compose.yml"
SECRETS = {
    "OTJOBS_TOKEN": "the-token",
    "OTJOBS_OWNER_PASSWORD": "the-owner",
    "OTJOBS_WRITER_PASSWORD": "the-writer",
    "OTJOBS_READER_PASSWORD": "the-reader",
    "GRAFANA_ADMIN_PASSWORD": "the-admin",
}
# What the users.xml of the server's package has, as far as ours builds on it.
USERS = """<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default><password/>
<networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users></clickhouse>"""


def read(secrets: dict[str, str], *, file: Path = FILE) -> tuple[int, str, str]:
    """Return what the compose specification's own library makes of the file: (exit status, stdout, stderr)."""
    parts.require("go")
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS} | secrets
    command = [parts.program("go") or "go", "run", ".", str(file)]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout, done.stderr


def load() -> Any:
    status, out, problem = read(SECRETS)
    assert status == 0, problem
    return json.loads(out)


@contextmanager
def clickhouse_with_accounts(folder: Path) -> Iterator[clickhouses.ClickHouse]:
    """Run the real server with deploy/clickhouse/users.xml, as the image would; the passwords are in SECRETS."""
    (folder / "users.d").mkdir(parents=True)
    (folder / "users.xml").write_text(USERS)
    shutil.copy(ROOT / "deploy" / "clickhouse" / "users.xml", folder / "users.d" / "otjobs.xml")
    config = folder / "config.xml"
    config.write_text(
        f"<clickhouse><user_directories><users_xml><path>{folder / 'users.xml'}</path></users_xml></user_directories></clickhouse>"
    )
    before = dict(os.environ)
    os.environ.update(SECRETS)
    try:
        with clickhouses.clickhouse_server(folder / "server", config=config) as server:
            yield server
    finally:
        os.environ.clear()
        os.environ.update(before)


def url(server: clickhouses.ClickHouse, account: str) -> str:
    return (
        f"http://otjobs_{account}:{SECRETS[f'OTJOBS_{account.upper()}_PASSWORD']}@127.0.0.1:{server.http_port}/otjobs"
    )


def read_by_collector(text: str) -> dict[str, bool]:
    """Return the environment variables a collector configuration reads: name to whether it has a default."""
    return {name: bool(default) for name, default in re.findall(r"\$\{env:(\w+)(:-[^}]*)?\}", text)}
