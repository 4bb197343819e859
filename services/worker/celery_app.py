"""The doorbell: a Celery app over Valkey whose messages carry a job id and nothing else.

State lives in Postgres, so Celery is asked for as little as possible: messages are acknowledged when they are taken,
there are no results, no revocation and no timed messages. A lost message is rung again by the reaper; a doubled one
finds nothing to take.
"""

from celery import Celery

QUEUES = ("short", "cpu", "gpu")
RUN_JOB = "octavo.run_job"


def make_app(broker_url: str) -> Celery:
    """An app on this broker; it connects when it is first used."""
    app = Celery("octavo", broker=broker_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_queues={name: {"exchange": name, "routing_key": name} for name in QUEUES},
        task_default_queue="cpu",
        task_create_missing_queues=False,
        task_ignore_result=True,
        task_acks_late=False,
        task_store_errors_even_if_ignored=False,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": 7 * 86400,  # nothing stays unacknowledged; never hand a message out twice
            "socket_connect_timeout": 5,
            "socket_timeout": 10,
            "socket_keepalive": True,
            "health_check_interval": 10,
            # Sending to a broker that is away fails at once (by default after 6 s); the relay waits by itself.
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
        },
    )
    return app
