"""The supervisor's configuration says what the catalog says, whatever the data directory is called."""

import configparser
import shlex
from pathlib import Path

import pytest

from services.chassis.catalog import SERVICES
from services.console.layout import LONGEST_SOCKET_PATH, Layout
from services.console.processes.pids import memory_bytes
from services.console.processes.supervision import GROUP, Supervisor, command, render


def parsed(layout: Layout, drain_seconds: float = 5.0) -> configparser.RawConfigParser:
    config = configparser.RawConfigParser()
    config.read_string(render(layout, drain_seconds))
    return config


def test_every_service_and_the_edge_are_one_group_that_restarts(tmp_path: Path) -> None:
    config = parsed(Layout(tmp_path))
    names = [*SERVICES, "edge"]
    assert config[f"group:{GROUP}"]["programs"].split(",") == names
    for name in names:
        program = config[f"program:{name}"]
        assert shlex.split(program["command"]) == command(name)
        assert program["autorestart"] == "true"
        assert program["stopsignal"] == "TERM"
        assert program["stdout_logfile"] == str(tmp_path / "logs" / f"{name}.log")
        assert program["redirect_stderr"] == "true"


def test_a_service_has_its_drain_and_some_more_before_it_is_killed(tmp_path: Path) -> None:
    assert int(parsed(Layout(tmp_path), 20.0)["program:order"]["stopwaitsecs"]) > 20


def test_relative_paths_in_settings_mean_the_folder_the_mesh_was_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parsed(Layout(tmp_path / "data"))["program:strategy"]["directory"] == str(tmp_path)


def test_a_percent_sign_and_a_space_in_the_path_stay_what_they_are(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "50% of all data")
    config = parsed(layout)
    # What the supervisor makes of a value.
    expanded = config["program:risk"]["stdout_logfile"] % {"program_name": "risk"}
    assert expanded == str(layout.log("risk"))
    assert config["unix_http_server"]["file"] % {} == str(layout.socket)


def test_a_socket_path_that_no_kernel_takes_is_replaced_by_a_short_one(tmp_path: Path) -> None:
    deep = Layout(tmp_path / ("deep" * 40))
    assert len(str(deep.socket)) <= LONGEST_SOCKET_PATH
    assert deep.socket != Layout(tmp_path / ("deep" * 41)).socket
    assert Layout(Path("/d")).socket == Path("/d/supervisord.sock")


def test_nothing_runs_where_nothing_was_started(tmp_path: Path) -> None:
    supervisor = Supervisor(Layout(tmp_path))
    assert not supervisor.running
    assert supervisor.processes() == []
    assert supervisor.leftovers() == []
    supervisor.stop(0.0)


def test_a_process_id_that_was_used_again_is_no_leftover(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.prepare()
    layout.pid_of("order").write_text("1\n")
    layout.pid_of("risk").write_text("nonsense")
    assert Supervisor(layout).leftovers() == []


def test_the_memory_of_a_process_that_is_gone_is_left_out() -> None:
    import os

    sizes = memory_bytes([os.getpid(), 0, 2**22 + 1])
    assert list(sizes) == [os.getpid()]
    assert sizes[os.getpid()] > 5e6


def test_the_end_of_a_log(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.prepare()
    assert layout.last_lines("order") == []
    layout.log("order").write_text("".join(f"line {n}\n" for n in range(50_000)))
    assert layout.last_lines("order", 2) == ["line 49998", "line 49999"]
