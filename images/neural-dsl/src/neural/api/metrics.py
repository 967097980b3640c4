"""Metrics in Prometheus' format, over all processes of an API container."""

from __future__ import annotations

from neural.api import metrics_directory

metrics_directory.prepare()

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

REQUESTS = Counter("neural_http_requests_total", "Requests answered.", ["method", "route", "status"])
DURATION = Histogram(
    "neural_http_request_duration_seconds",
    "Time to answer a request.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
JOBS_ACCEPTED = Counter("neural_jobs_accepted_total", "Jobs accepted.", ["kind"])
PUBLISH_FAILURES = Counter(
    "neural_publish_failures_total", "Jobs left to the sweeper, as the broker did not take them."
)
REPUBLISHED = Counter("neural_jobs_republished_total", "Jobs that the sweeper handed to the broker again.", ["reason"])
RATE_LIMITED = Counter("neural_rate_limited_total", "Requests answered 429.")
RATE_LIMIT_BYPASSED = Counter("neural_rate_limit_bypassed_total", "Requests let through as Redis did not answer.")
DATABASE_RETRIES = Counter("neural_database_retries_total", "Database work that had to be tried again.")
JOBS_OPEN = Gauge("neural_jobs_open", "Jobs not finished.", ["queue", "status"], multiprocess_mode="mostrecent")


def render() -> bytes:
    """All processes' metrics as text."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return generate_latest(registry)
