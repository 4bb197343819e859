#!/bin/sh
# valkey.sh PASSWORD_FILE SETTING...: start Valkey with these settings and the password of a mounted secret.
# The password goes in by standard input: on the command line everybody could read it.
set -eu
password=$(cat "$1")
[ -n "$password" ] || { echo "valkey does not start: $1 is empty" >&2; exit 1; }
shift
umask 077
{ printf '%s\n' "$@"; printf 'requirepass %s\n' "$password"; } > /tmp/valkey.conf
exec docker-entrypoint.sh valkey-server - < /tmp/valkey.conf
