"""`python -m services.local up|down|status|doctor|logs`; the `octavo` command passes these on to here."""

from services.local.commands import app

if __name__ == "__main__":
    app(prog_name="octavo")
