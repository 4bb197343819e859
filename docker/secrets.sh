#!/bin/sh
# docker/secrets.sh [FOLDER]: make the secrets of docker-compose.yml that are not there yet, in ./secrets.
# The folder is closed to others; the files are readable, as each is mounted for the unprivileged user of its containers.
set -eu
folder=${1:-secrets}
umask 022
mkdir -p "$folder"
chmod 700 "$folder"

hex() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }
make() { # NAME CONTENT
  if [ -s "$folder/$1" ]; then echo "have $folder/$1"; else printf '%s\n' "$2" > "$folder/$1"; echo "made $folder/$1"; fi
}

make postgres_password "$(hex 24)"
make broker_password "$(hex 24)"
make sessions_password "$(hex 24)"
make grafana_password "$(hex 16)"
make api_key "oct_$(hex 5)_$(hex 24)"
if [ ! -s "$folder/s3_credentials" ]; then
  id=$(hex 10) key=$(hex 20)
  make s3_credentials "$(printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s' "$id" "$key")"
  make s3_config "$(printf '{"identities": [{"name": "octavo", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}' "$id" "$key")"
fi
