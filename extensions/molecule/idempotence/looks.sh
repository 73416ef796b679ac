#!/bin/sh
# Writes what a run must not change into a file: when the main processes were started and reloaded, and every file of ours
# and of the servers, with its mode, its time and its content.
{
    for unit in apache2 haproxy nginx; do
        systemctl show --property=Id,MainPID,ExecMainStartTimestampMonotonic,NRestarts "$unit"
        journalctl --unit "$unit" --quiet --output cat | grep -c -i reload
    done
    find /etc/connsec /etc/apache2 /etc/haproxy /etc/nginx ! -name .lock -printf '%p %m %u %T@ %l\n' | sort
    find /etc/connsec /etc/apache2 /etc/haproxy /etc/nginx -type f ! -name .lock -exec sha256sum '{}' '+' | sort
} >"$1"
