"""The schedule: a real server, the deployment applied by `evergreen serve`, a run triggered as the schedule would."""

import json
import time
import urllib.request
from importlib.metadata import version

import psutil
import yaml
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import load_flow_from_entrypoint

from tasks.server import free_port
from tasks.settings import CHECKOUT, TELEMETRY_OFF


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait_until(what, seconds=600):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if result := what():
                return result
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.2)


def ended(url):
    """The final state of a run, None while it has none."""
    state = ask(url)["state_type"]
    return state if state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None


def test_served_deployment_has_its_schedule_and_runs(smoke):
    place, port = smoke.place, free_port()
    api = f"http://127.0.0.1:{port}/api"
    command = [*place.images_command()[:1], "serve", "--workdir", str(place.root), "--port", str(port)]
    crons = {"nightly": "15 3 * * *", "adapt": "45 3 * * *"}
    serving = place.start(*command, "--cron", crons["nightly"], "--adapt-cron", crons["adapt"])
    try:
        wait_until(lambda: len(ask(f"{api}/deployments/filter", {})) == 2)
        listed = wait_until(lambda: ask(f"{api}/deployments/filter", {}))  # a busy database answers 503: ask again
        deployments = {entry["name"]: entry for entry in listed}
        for name, cron in crons.items():
            schedules = [entry["schedule"]["cron"] for entry in deployments[name]["schedules"] if entry["active"]]
            assert schedules == [cron]
            assert deployments[name]["parameters"] == {"workdir": str(place.root)}
        deployment = deployments["nightly"]

        triggered = wait_until(lambda: ask(f"{api}/deployments/{deployment['id']}/create_flow_run", {}))["id"]
        assert wait_until(lambda: ended(f"{api}/flow_runs/{triggered}")) == "COMPLETED"
        wanted = {"logs": {"flow_run_id": {"any_": [triggered]}}}
        said = wait_until(lambda: [entry["message"] for entry in ask(f"{api}/logs/filter", wanted)][1:])
        assert any(message.startswith("Nothing new: version 1") for message in said), said
    finally:
        serving.terminate()
        serving.wait(timeout=120)
    assert psutil.wait_procs(place.processes(), timeout=20)[1] == []
    assert "Traceback" not in (place.home / "err").read_text()


def test_work_pool_deployment_names_a_flow_that_exists():
    declared = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())
    assert declared["prefect-version"] == version("prefect")
    for deployment in declared["deployments"]:
        path, function = deployment["entrypoint"].split(":")
        flow = load_flow_from_entrypoint(f"{CHECKOUT / path}:{function}")
        assert flow.name == function
        assert set(deployment["parameters"]) <= set(flow.parameters.properties)
        assert [CronSchedule(cron=entry["cron"]) for entry in deployment["schedules"]]
        off = {name: value for name, value in TELEMETRY_OFF.items() if name != "DVC_STUDIO_OFFLINE"}
        assert deployment["work_pool"]["job_variables"]["env"].items() >= off.items()
