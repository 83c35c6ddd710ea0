"""Grafana as code: dashboards, alert rules, data source. `python -m grafana.render` writes the files Grafana reads."""
