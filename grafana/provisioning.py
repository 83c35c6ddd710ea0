"""The provisioning files for the data source and for where dashboards lie."""

from __future__ import annotations

from typing import Final

from grafana.pieces import DATASOURCE_UID, FOLDER_UID, PLUGIN, PLUGIN_VERSION, Json

DASHBOARD_FOLDER: Final = "/etc/otjobs/dashboards"
"""Where Grafana finds the dashboards; docker-compose.yml mounts them there."""


def datasource() -> Json:
    """Return the data source. Address, account and password come from Grafana's environment."""
    return {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "otjobs",
                "uid": DATASOURCE_UID,
                "type": PLUGIN,
                "access": "proxy",
                "orgId": 1,
                "isDefault": True,
                "editable": False,
                "jsonData": {
                    "version": PLUGIN_VERSION,
                    "host": "$OTJOBS_CLICKHOUSE_HOST",
                    "port": "$OTJOBS_CLICKHOUSE_PORT",
                    "protocol": "native",
                    "secure": False,
                    "username": "$OTJOBS_READER_USER",
                    "defaultDatabase": "otjobs",
                    "defaultTable": "jobs",
                    "dialTimeout": "10",
                    "queryTimeout": "60",
                    "validateSql": True,
                    # True would cut every answer without a word, also those of alerts.
                    "enableRowLimit": False,
                    "traces": {
                        "defaultDatabase": "otjobs",
                        "defaultTable": "otel_traces",
                        "otelEnabled": True,
                        "otelVersion": "latest",
                        "durationUnit": "nanoseconds",
                        "traceTimestampTableSuffix": "_trace_id_ts",
                        "showTraceLinks": True,
                    },
                },
                "secureJsonData": {"password": "$OTJOBS_READER_PASSWORD"},
            }
        ],
    }


def dashboards() -> Json:
    """Return the provider of the dashboards."""
    return {
        "apiVersion": 1,
        "providers": [
            {
                "name": "otjobs",
                "orgId": 1,
                "folder": "otjobs",
                "folderUid": FOLDER_UID,
                "type": "file",
                "disableDeletion": False,
                "editable": False,
                "allowUiUpdates": False,
                "updateIntervalSeconds": 30,
                "options": {"path": DASHBOARD_FOLDER},
            }
        ],
    }
