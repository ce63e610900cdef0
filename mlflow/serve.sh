#!/bin/sh
# Serve Evergreen's MLflow store over HTTP, on loopback only: sh mlflow/serve.sh [PORT]
# EVERGREEN_HOME and MLFLOW_TRACKING_URI choose the store, as they do for the evergreen command.
set -eu
port=${1:-5000}
cd "$(dirname "$0")/.."
python=.venv/bin/python
[ -x "$python" ] || python=$(command -v python3 || command -v python)

# one place knows where the store is, and makes it before the server's workers would all try to
places=$("$python" -c '
from tasks.mlflow_store import connect
from tasks.settings import Settings
settings = Settings.load().apply()
if not settings.local_store:
    raise SystemExit(f"The store is a server already: {settings.tracking_uri}")
connect(settings)
print(settings.tracking_uri, settings.artifacts.as_uri(), sep="\n")
')
store=$(printf '%s\n' "$places" | sed -n 1p)
artifacts=$(printf '%s\n' "$places" | sed -n 2p)

export MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true
exec "$python" -m mlflow server --host 127.0.0.1 --port "$port" --workers 1 \
    --backend-store-uri "$store" --default-artifact-root "$artifacts"
