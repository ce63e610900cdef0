import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tasks.settings import Settings
from tasks.stages import IDENTITY_STAGES, InfrastructureError, StageError, reproduce, run_key, stale_stages
from tasks.workspace import Workspace

MADE_BY = IDENTITY_STAGES["images"]


def test_stages_run_in_turn_and_know_what_is_stale(small_settings: Settings, pipeline: Workspace) -> None:
    assert run_key(pipeline) is None
    for stage in MADE_BY:
        reproduce(small_settings, pipeline, stage)
    assert (pipeline.root / "data/images/classifier").read_text().strip() == "days: 3"
    assert stale_stages(small_settings, pipeline, MADE_BY) == []
    first = run_key(pipeline)

    pipeline.update("images", {"finetune": {"epochs": 2}})
    assert stale_stages(small_settings, pipeline, MADE_BY) == ["finetune"]
    assert stale_stages(small_settings, pipeline, ["ingest"]) == []
    reproduce(small_settings, pipeline, "finetune")
    assert run_key(pipeline) != first

    pipeline.update("images", {"finetune": {"epochs": 1}})
    reproduce(small_settings, pipeline, "finetune")
    assert run_key(pipeline) == first


def test_run_key_follows_inputs_and_environment_but_not_outputs(small_settings: Settings, pipeline: Workspace) -> None:
    def key(stage: str = "", **changes: object) -> str | None:
        base = {"cmd": "c", "deps": [{"path": "a", "md5": "1", "size": 1}], "params": {"p": {"x": 1}}}
        stages = {name: base | {"outs": [{"path": name, "md5": "2"}]} for name in (*MADE_BY, "report")}
        if stage:
            stages[stage] |= changes
        (pipeline.root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))
        return run_key(pipeline)

    first = key()
    assert key("report", cmd="other") == first, "what follows the champion is no part of it"
    assert key("ingest", outs=[{"path": "ingest", "md5": "3"}]) == first
    assert key("ingest", deps=[{"path": "a", "md5": "1", "size": 2}]) == first
    others = [key(name, cmd="other") for name in MADE_BY]
    others += [key("windows", deps=[{"path": "a", "md5": "3"}]), key("pretrain", params={"p": {"x": 2}})]
    (small_settings.checkout / "requirements.lock").write_text("numpy==2\n")
    others.append(key())
    assert len({first, *others}) == len(others) + 1


def test_a_step_speaks_for_itself(
    small_settings: Settings, pipeline: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StageError, match=r"^found 3, expected 4: do this$") as caught:
        reproduce(small_settings, pipeline, "failing")
    assert caught.value.exit_code == 2
    assert capfd.readouterr() == ("", "")


def test_dvc_speaks_where_no_step_did(small_settings: Settings, pipeline: Workspace) -> None:
    with pytest.raises(StageError, match="no-such-command-at-all, exited with 127") as caught:
        reproduce(small_settings, pipeline, "missing")
    assert caught.value.exit_code == 1


def test_damaged_pipeline_is_told(small_settings: Settings, pipeline: Workspace) -> None:
    (pipeline.root / "dvc.yaml").write_text("stages: [")
    with pytest.raises(StageError, match=r"dvc\.yaml"):
        reproduce(small_settings, pipeline, "ingest")
    with pytest.raises(InfrastructureError, match=r"dvc\.yaml"):
        stale_stages(small_settings, pipeline, MADE_BY)


def _reproduce_in_background(settings: Settings, pipeline: Workspace, stage: str) -> "subprocess.Popen[bytes]":
    code = (
        # a shell without a terminal starts its background jobs deaf to Ctrl-C
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "import sys; from pathlib import Path; from tasks.settings import Settings; from tasks.stages import reproduce;"
        "from tasks.workspace import Workspace;"
        f"reproduce(Settings(Path({str(settings.checkout)!r}), Path({str(settings.home)!r}), 'sqlite:///x', None),"
        f" Workspace(Path({str(pipeline.root)!r})), {stage!r})"
    )
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True)


def _wait_for_pids(*files: Path) -> list[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        texts = [file.read_text() if file.is_file() else "" for file in files]
        if all(text.endswith("\n") for text in texts):
            return [int(text) for text in texts]
        time.sleep(0.05)
    raise AssertionError(f"{files} did not appear")


@pytest.mark.parametrize("signal_name", ["terminate", "kill", "interrupt"])
def test_nothing_survives_the_run(small_settings: Settings, pipeline: Workspace, signal_name: str) -> None:
    run = _reproduce_in_background(small_settings, pipeline, "slow")
    pids = _wait_for_pids(pipeline.root / "slow.pid", pipeline.root / "grandchild.pid")
    if signal_name == "interrupt":
        run.send_signal(2)
    else:
        getattr(run, signal_name)()
    run.wait(timeout=120)
    psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=15)
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    # and the next run is not held up by what the killed one left
    reproduce(small_settings, pipeline, "ingest")


def test_second_run_waits_for_the_first_and_says_so(
    small_settings: Settings, pipeline: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    slow = pipeline.root / "code" / "slow.sh"
    slow.write_text("echo $$ > slow.pid\nsleep 2\necho done > slow.txt\n")
    run = _reproduce_in_background(small_settings, pipeline, "slow")
    _wait_for_pids(pipeline.root / "slow.pid")
    reproduce(small_settings, pipeline, "ingest")
    assert (pipeline.root / "slow.txt").read_text() == "done\n"
    assert f"Another run works in {pipeline.root}" in capfd.readouterr().out
    assert run.wait(timeout=30) == 0


def _hold(pipeline: Workspace, pid: int) -> Path:
    """Pretend that a process writes the stage's output, as DVC notes it."""
    path = pipeline.root / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True, exist_ok=True)
    held = {"write": {str(pipeline.root / "data/images/raw"): {"pid": pid, "cmd": "dvc repro"}}, "read": {}}
    path.write_text(json.dumps(held))
    return path


def test_lock_of_a_dead_dvc_whose_number_lives_again_is_dropped(small_settings: Settings, pipeline: Workspace) -> None:
    _hold(pipeline, os.getpid())
    reproduce(small_settings, pipeline, "ingest")
    assert (pipeline.root / "data/images/raw/days").is_file()


def test_dvc_at_work_by_hand_is_respected(small_settings: Settings, pipeline: Workspace, tmp_path: Path) -> None:
    by_hand = subprocess.Popen(["bash", "-c", "exec -a dvc sleep 60"])
    try:
        while psutil.Process(by_hand.pid).cmdline()[:1] != ["dvc"]:
            time.sleep(0.02)
        _hold(pipeline, by_hand.pid)
        with pytest.raises(InfrastructureError, match="cannot start"):
            reproduce(small_settings, pipeline, "ingest")
    finally:
        by_hand.kill()
        by_hand.wait()
    reproduce(small_settings, pipeline, "ingest")


def test_lost_output_comes_back_from_the_cache(small_settings: Settings, pipeline: Workspace) -> None:
    for stage in ("ingest", "validate"):
        reproduce(small_settings, pipeline, stage)
    (pipeline.root / "data/images/valid").unlink()
    assert not reproduce(small_settings, pipeline, "validate").ran
    assert (pipeline.root / "data/images/valid").read_text().strip() == "days: 3"


def test_unreadable_lock_list_is_dropped(small_settings: Settings, pipeline: Workspace) -> None:
    _hold(pipeline, 1).write_text('{"write": {"da')
    reproduce(small_settings, pipeline, "ingest")
    assert (pipeline.root / "data/images/raw/days").is_file()


def test_stage_result_counts_the_step_alone(small_settings: Settings, pipeline: Workspace) -> None:
    failing = pipeline.root / "code" / "failing.sh"
    failing.write_text('echo \'{"code": 0, "seconds": 12.5}\' > "$EVERGREEN_STATUS_FILE"\necho x > never.txt\n')
    result = reproduce(small_settings, pipeline, "failing")
    assert replace(result, seconds=0.0) == replace(result, stage="failing", ran=True, step_seconds=12.5, seconds=0.0)
