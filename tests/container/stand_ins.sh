#!/usr/bin/env bash
# Make images of Debian's packages that stand in for those that docker-compose.yml names,
# for an engine that reaches no registry. The tests use them if they are there.
set -euo pipefail

# stand_in IMAGE PACKAGE PROGRAM DIRECTORY: PROGRAM may write to DIRECTORY.
stand_in() {
    if docker image inspect "$1" >/dev/null 2>&1; then
        return
    fi
    echo "making $1" >&2
    docker build -q -t "$1" - <<EOF
FROM python:3.13-slim
RUN apt-get update -qq \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $2 \\
 && rm -rf /var/lib/apt/lists/* \\
 && ln -sf /usr/bin/$2 /usr/local/bin/$3 \\
 && mkdir -p $4 && chown 65534:65534 $4
USER 65534
ENTRYPOINT ["/usr/local/bin/$3"]
EOF
}

stand_in prom/prometheus prometheus prometheus /prometheus
stand_in prom/node-exporter prometheus-node-exporter node_exporter /var/lib/node_exporter
stand_in prom/alertmanager prometheus-alertmanager alertmanager /alertmanager
