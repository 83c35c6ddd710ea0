"""`otjobs demo`: a real Celery application, traced from the outside, on nothing but Python."""

from __future__ import annotations
