"""What Postgres itself guards and announces: job moves, and NOTIFY for the relay and for event streams.

The functions are generated from `libs.jobs.states`, so the table of allowed moves exists once. Every
`upgrade` writes them anew; `check` compares what is installed with what this code would install.
"""

from sqlalchemy import Connection, text

from libs.jobs.states import ALLOWED_MOVES

OUTBOX_CHANNEL = "octavo_outbox"
"""NOTIFY channel (empty payload): a job waits to be rung."""
EVENTS_CHANNEL = "octavo_events"
"""NOTIFY channel; payload: id of the job that has new events."""


def _guard_body() -> str:
    moves = ",".join(sorted(f"'{old}>{new}'" for old, allowed in ALLOWED_MOVES.items() for new in allowed))
    return f"""
BEGIN
    IF NOT (OLD.status || '>' || NEW.status) = ANY (ARRAY[{moves}]) THEN
        RAISE EXCEPTION 'job % may not move from % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'jobs_allowed_moves';
    END IF;
    RETURN NEW;
END
"""


def _bodies() -> dict[str, str]:
    return {
        "octavo_guard_job_move": _guard_body(),
        "octavo_notify_outbox": f"\nBEGIN\n    PERFORM pg_notify('{OUTBOX_CHANNEL}', '');\n    RETURN NULL;\nEND\n",
        "octavo_notify_event": (
            f"\nBEGIN\n    PERFORM pg_notify('{EVENTS_CHANNEL}', NEW.job_id::text);\n    RETURN NULL;\nEND\n"
        ),
    }


_TRIGGERS = (
    """CREATE OR REPLACE TRIGGER octavo_guard_job_move BEFORE UPDATE OF status ON jobs FOR EACH ROW
       WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION octavo_guard_job_move()""",
    """CREATE OR REPLACE TRIGGER octavo_notify_outbox AFTER INSERT ON outbox FOR EACH STATEMENT
       EXECUTE FUNCTION octavo_notify_outbox()""",
    """CREATE OR REPLACE TRIGGER octavo_notify_event AFTER INSERT ON job_events FOR EACH ROW
       EXECUTE FUNCTION octavo_notify_event()""",
)


def install(connection: Connection) -> None:
    """Write functions and triggers; those that are there are replaced."""
    for name, body in _bodies().items():
        connection.execute(
            text(f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body${body}$body$")
        )
    for trigger in _TRIGGERS:
        connection.execute(text(trigger))


def remove(connection: Connection) -> None:
    """Drop the functions and, with them, the triggers."""
    for name in _bodies():
        connection.execute(text(f"DROP FUNCTION IF EXISTS {name}() CASCADE"))


def outdated(connection: Connection) -> list[str]:
    """Names of functions whose installed text is not this code's."""
    rows = connection.execute(
        text("SELECT proname, prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace")
    )
    installed = {row.proname: row.prosrc for row in rows}
    return [name for name, body in _bodies().items() if installed.get(name) != body]
