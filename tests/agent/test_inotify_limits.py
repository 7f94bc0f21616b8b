"""The agent in a user namespace that has no inotify watches left: it says what to raise, and polls."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent.agent import Agent

SCRIPT = 'echo "$1" > "/proc/sys/user/$0" && shift && exec "$@"'


@pytest.mark.parametrize(
    ("limit", "left", "sysctl", "said"),
    [
        ("max_inotify_watches", "3", "fs.inotify.max_user_watches", "inotify_add_watch of /"),
        ("max_inotify_instances", "0", "fs.inotify.max_user_instances", "no inotify instance left"),
    ],
)
def test_what_is_used_up_is_named_and_polling_takes_over(
    tmp_path: Path, limit: str, left: str, sysctl: str, said: str
) -> None:
    config, logs = tmp_path / "podwitness.conf", tmp_path / "logs"
    logs.mkdir()
    config.write_text(
        f"[INPUT]\n    Name tail\n    Path {logs}/*/*.log\n    Tag t\n    Read_from_Head On\n"
        "[OUTPUT]\n    Name stdout\n    Match *\n    Format json_lines\n"
    )
    prefix = ("unshare", "--user", "--map-root-user", "sh", "-c", SCRIPT, limit, left)
    with Agent("-c", str(config), prefix=prefix) as agent:
        agent.log.wait_for(rf"{said}.*Raise the sysctl {sysctl}")
        agent.wait_until_running()
        for number in range(5):
            folder = logs / str(number)
            folder.mkdir()
            (folder / "a.log").write_text(f"first {number}\n")
        agent.out.wait_for('"first [0-4]"', count=5)
        for number in range(5):
            with (logs / str(number) / "a.log").open("a") as log:
                log.write(f"second {number}\n")
        agent.out.wait_for('"second [0-4]"', count=5)
