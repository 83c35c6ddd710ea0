"""docker-compose.yml: valid to Compose's own library, and its services fit each other, the images and the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import urlsplit

import parts
import pytest
import yaml
from compose_project import FILE, ROOT, SECRETS, read, read_by_collector

pytestmark = pytest.mark.go

USERS = ROOT / "deploy" / "clickhouse" / "users.xml"
BUILT = {"migrate", "collector", "worker", "producer"}


def test_the_services(services):
    assert services.keys() == {"clickhouse", "migrate", "collector", "grafana", "redis", "worker", "producer"}


@pytest.mark.parametrize("name", SECRETS)
def test_a_missing_password_is_told_by_name(name):
    status, _, problem = read({key: value for key, value in SECRETS.items() if key != name})
    assert status == 1
    assert f"required variable {name} is missing a value" in problem


def test_the_library_refuses_what_is_wrong(tmp_path):
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(FILE.read_text().replace("restart: unless-stopped", "restarts: unless-stopped"))
    status, _, problem = read(SECRETS, file=wrong)
    assert status == 1
    assert "restarts" in problem


def test_ports_are_open_to_this_machine_alone(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    published = [port["published"] for port in ports]
    assert sorted(published) == ["3000", "4317", "4318", "8123"]


def test_every_mounted_path_exists(services):
    mounts = [v for service in services.values() for v in service.get("volumes", []) if v["type"] == "bind"]
    assert len(mounts) == 7
    for mount in mounts:
        source = Path(mount["source"])
        assert source.is_relative_to(ROOT)
        assert source.exists(), source
        assert mount["read_only"] is True


def test_data_lies_in_named_volumes(project, services):
    used = {v["source"]: v["target"] for s in services.values() for v in s.get("volumes", []) if v["type"] == "volume"}
    assert used.keys() == project["volumes"].keys()
    queue = services["collector"]["environment"]["OTJOBS_QUEUE_DIRECTORY"]
    assert queue.startswith(used["queue"] + "/"), "what was acknowledged must outlive the container"


def test_what_is_waited_for_can_happen(services):
    for service in services.values():
        for name, wait in (service.get("depends_on") or {}).items():
            if wait["condition"] == "service_healthy":
                assert services[name]["healthcheck"]["test"], f"{name} has no health check"
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert services[name]["restart"] == "no"


def test_images_are_pinned_and_of_the_versions_that_are_tested(services):
    images = {name: service["image"] for name, service in services.items() if "image" in service}
    assert all(re.search(r":\d", image) for image in images.values()), images
    version = images["clickhouse"].split(":")[1]
    assert parts.tool("clickhouse").NEWEST.startswith(version + ".")
    builder = parts.tool("collector").BUILDER
    assert f"go install {builder}" in (ROOT / "collector" / "Dockerfile").read_text()


def stages(dockerfile):
    return {found.lower() for found in re.findall(r"^FROM \S+ AS (\S+)", dockerfile.read_text(), re.MULTILINE)}


def test_what_is_built_has_its_files(services):
    assert {name for name, service in services.items() if "build" in service} == BUILT
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name in BUILT:
        build = services[name]["build"]
        context = Path(build["context"])
        dockerfile = context / build.get("dockerfile", "Dockerfile")
        if "target" in build:
            assert build["target"] in stages(dockerfile)
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile.read_text(), re.MULTILINE):
            for source in sources.split():
                assert (context / source).exists(), f"{dockerfile} copies {source}"
                assert context != ROOT or f"!{source}" in ignored, f".dockerignore hides {source}"


def test_the_wheel_of_the_image_has_the_sql(tmp_path):
    """The package built from nothing but what the Dockerfile copies."""
    for source in ("pyproject.toml", "README.md", "otjobs"):
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, tmp_path / source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(tmp_path / "out"),
        str(tmp_path),
    ]
    subprocess.run(command, check=True, timeout=200)
    (wheel,) = (tmp_path / "out").glob("*.whl")
    names = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)], check=True, capture_output=True, text=True
    ).stdout
    for path in (ROOT / "otjobs" / "backend" / "sql").rglob("*.sql"):
        assert str(path.relative_to(ROOT)) in names


def test_every_command_exists(services):
    from otjobs.backend.cli import main  # the console script's target
    from otjobs.backend.cli.app import cli

    assert callable(main)
    program, subcommand = services["migrate"]["command"]
    assert program == "otjobs"
    assert subcommand in cli.commands
    bin_folder = Path(sys.executable).parent
    for name in ("worker", "producer"):
        first, second = services[name]["command"][:2]
        assert (bin_folder / first).exists()
        assert second == "python" or (bin_folder / second).exists()
    application = ROOT / "examples" / "compose_app" / "shop.py"
    queues = services["worker"]["command"][services["worker"]["command"].index("-Q") + 1].split(",")
    assert set(queues) == {"orders", *re.findall(r'"queue": "(\w+)"', application.read_text())}


def test_the_collector_finds_every_variable_it_reads(services):
    variables = read_by_collector((ROOT / "collector" / "gateway.yaml").read_text())
    given = services["collector"]["environment"]
    assert {name for name, has_default in variables.items() if not has_default} <= given.keys()
    assert given.keys() <= variables.keys(), "a variable that nothing reads is a typing error"


@pytest.mark.collector
def test_the_collector_accepts_its_configuration(services, collector_binary):
    files = [ROOT / "collector" / "gateway.yaml", ROOT / "collector" / "redaction.yaml"]
    command = [str(collector_binary), "validate", *(f"--config={file}" for file in files)]
    environment = {"PATH": os.environ["PATH"], **services["collector"]["environment"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    del environment["OTJOBS_TOKEN"]
    without = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert without.returncode != 0, "without a token it must not start"


def test_accounts_and_passwords_fit(services):
    users = {user.tag: user.find("password").get("from_env") for user in ET.parse(USERS).getroot().find("users")}
    server = services["clickhouse"]["environment"]

    def password(user):
        return server[users[user]]

    assert len({password(user) for user in users}) == 3
    collector = services["collector"]["environment"]
    assert collector["OTJOBS_CLICKHOUSE_PASSWORD"] == password(collector["OTJOBS_CLICKHOUSE_USER"])
    assert collector["OTJOBS_CLICKHOUSE_USER"] == "otjobs_writer"
    grafana = services["grafana"]["environment"]
    assert grafana["OTJOBS_READER_PASSWORD"] == password(grafana["OTJOBS_READER_USER"])
    assert grafana["OTJOBS_READER_USER"] == "otjobs_reader"
    migrate = urlsplit(services["migrate"]["environment"]["OTJOBS_URL"])
    assert migrate.password == password(migrate.username)
    assert migrate.username == "otjobs_owner"
    for name in ("worker", "producer"):
        assert (
            services[name]["environment"]["OTEL_EXPORTER_OTLP_HEADERS"]
            == f"Authorization=Bearer%20{collector['OTJOBS_TOKEN']}"
        )
    (mount,) = [v for v in services["clickhouse"]["volumes"] if v["type"] == "bind"]
    assert Path(mount["source"]) == USERS
    assert mount["target"].startswith("/etc/clickhouse-server/users.d/")


def test_grafana_finds_what_its_files_read(services):
    from grafana.pieces import PLUGIN, PLUGIN_VERSION
    from grafana.provisioning import DASHBOARD_FOLDER

    given = services["grafana"]["environment"]
    assert given["GF_PLUGINS_PREINSTALL_SYNC"] == f"{PLUGIN}@{PLUGIN_VERSION}"
    text = (ROOT / "grafana" / "provisioning" / "datasources" / "otjobs.yaml").read_text()
    needed = set(re.findall(r"\$\{?(\w+)", text))
    assert needed
    assert needed <= given.keys()
    (source,) = yaml.safe_load(text)["datasources"]
    assert source["jsonData"]["protocol"] == "native"
    assert given["OTJOBS_CLICKHOUSE_PORT"] == "9000"
    mounted = {v["target"]: Path(v["source"]) for v in services["grafana"]["volumes"] if v["type"] == "bind"}
    assert mounted[DASHBOARD_FOLDER] == ROOT / "grafana" / "dashboards"
    for place in ("datasources", "dashboards", "alerting"):
        assert mounted[f"/etc/grafana/provisioning/{place}"] == ROOT / "grafana" / "provisioning" / place


def test_every_host_is_a_service(services):
    urls = [
        value
        for service in services.values()
        for value in service.get("environment", {}).values()
        if isinstance(value, str) and "://" in value
    ]
    hosts = {urlsplit(value).hostname for value in urls} | {
        services["grafana"]["environment"]["OTJOBS_CLICKHOUSE_HOST"]
    }
    assert hosts == {"clickhouse", "collector", "redis"}
