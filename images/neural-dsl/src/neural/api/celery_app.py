"""The Celery application: queues, routes, and a worker that proves to itself that it consumes."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from celery import Celery, signals
from kombu import Exchange, Queue

from neural.api import broker, logs
from neural.api.jobs import QUEUES, TASKS
from neural.api.settings import Settings, SettingsError, settings

LOG = logging.getLogger("neural.api.celery")
DEFAULT_QUEUE = "general"
CANARY = "neural.canary"


def configuration(config: Settings) -> dict[str, Any]:
    """Celery's settings."""
    url = config.broker_url()
    values: dict[str, Any] = {
        "broker_url": ";".join(broker.without_query(part) for part in url.split(";")),
        "broker_transport_options": broker.transport_options(config, url),
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_connection_timeout": broker.CONNECT_TIMEOUT,
        # A master that is fenced (NOREPLICAS) or was just demoted (READONLY) refuses commands: reconnect, do not end.
        "broker_channel_error_retry": True,
        "worker_consumer": "neural.api.worker_consumer:Consumer",
        "broker_pool_limit": 4,
        # Interrupted tasks are done again: they are idempotent, and PostgreSQL knows which are done.
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": False,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "enable_utc": True,
        "task_default_queue": DEFAULT_QUEUE,
        "task_default_exchange": DEFAULT_QUEUE,
        "task_default_routing_key": DEFAULT_QUEUE,
        "task_create_missing_queues": True,
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in sorted(QUEUES.values())],
        "task_routes": {TASKS[kind]: {"queue": queue} for kind, queue in QUEUES.items()},
        "task_soft_time_limit": config.job_time_limit,
        "task_time_limit": config.job_time_limit + 30,
        "task_publish_retry": True,
        "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0.2, "interval_step": 0.3, "interval_max": 1},
    }
    if broker.encrypted(config, url):
        values["broker_use_ssl"] = broker.tls_options(config, url)
    backend = config.result_backend_url()
    if backend:
        values["result_backend"] = ";".join(broker.without_query(part) for part in backend.split(";"))
        values["result_backend_transport_options"] = broker.transport_options(config, backend)
        values["redis_socket_timeout"] = broker.SOCKET_TIMEOUT
        values["redis_socket_connect_timeout"] = broker.CONNECT_TIMEOUT
        values["redis_backend_health_check_interval"] = broker.HEALTH_CHECK_INTERVAL
        values["redis_retry_on_timeout"] = True
        values["redis_socket_keepalive"] = True
        if broker.encrypted(config, backend):
            values["redis_backend_use_ssl"] = broker.tls_options(config, backend)
    return values


def _make() -> Celery:
    try:
        config = settings().require("worker")
    except SettingsError as error:
        sys.exit(f"neural.api: {error}")
    # Celery would prefer these to what is set below, which has the passwords.
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
        os.environ.pop(name, None)
    application = Celery("neural", include=["neural.api.tasks"])
    application.conf.update(configuration(config))
    return application


app = _make()


@signals.setup_logging.connect
def _setup_logging(loglevel: Any = None, **_: Any) -> None:
    logs.configure(loglevel)


@signals.worker_init.connect
def _worker_init(sender: Any, **_: Any) -> None:
    """Before the pool is forked: import what jobs need, and consume the worker's own canary queue."""
    from neural.api import engine, worker_canary

    engine.preload()
    sender.app.amqp.queues.select_add(worker_canary.queue(sender.hostname))


@signals.worker_ready.connect
def _worker_ready(sender: Any, **_: Any) -> None:
    from neural.api import worker_canary

    worker_canary.start(sender)


@signals.worker_process_shutdown.connect
def _process_shutdown(**_: Any) -> None:
    from neural.api import db

    db.dispose()
