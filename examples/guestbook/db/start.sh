#!/bin/sh
# Makes the cluster on an empty volume, then becomes PostgreSQL.
set -eu
bin=/usr/lib/postgresql/15/bin
cluster=/var/lib/postgresql/data/cluster

if [ ! -d "$cluster" ]; then
    # Made aside and renamed: a start that is killed halfway begins anew.
    rm -rf "$cluster.new"
    "$bin/initdb" -D "$cluster.new" -U guestbook --pwfile=/run/secrets/db_password -E UTF8 --locale=C.UTF-8 \
        --auth-local=peer --auth-host=scram-sha-256
    echo "host all all all scram-sha-256" >> "$cluster.new/pg_hba.conf"
    echo "create database guestbook" | "$bin/postgres" --single -D "$cluster.new" -j postgres
    mv "$cluster.new" "$cluster"
fi
exec "$bin/postgres" -D "$cluster" -c listen_addresses='*' -c unix_socket_directories=/tmp
