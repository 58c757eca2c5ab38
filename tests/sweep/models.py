"""Models of users: functions that are swept, well-behaved and otherwise."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm_merge.database import SimulationWriter


def count(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """Log as many steps as `n`."""
    for step in range(parameters["n"]):
        db.logger.log_step(step, [], [], {"total_agents": seed % 1000 + step})
    if parameters.get("flush"):
        db.flush_all_buffers()


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse what is above 100."""
    if parameters.get("n", 0) > 100:
        raise FarmMergeError("n is above 100")


def fail(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """Fail where `n` is 2, and log steps otherwise."""
    count(db, parameters, seed)
    if parameters["n"] == 2:
        raise ValueError("two is too many")


def leave(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """Leave Python where `n` is 2."""
    count(db, parameters, seed)
    if parameters["n"] == 2:
        sys.exit("enough")


def fail_once(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """Fail the first time."""
    mark = Path(parameters["folder_of_marks"]) / f"{seed}"
    if not mark.exists():
        mark.touch()
        raise RuntimeError("not yet")
    count(db, parameters, seed)


def fail_late_once(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """Log, and then fail the first time."""
    count(db, parameters, seed)
    fail_once(db, {**parameters, "n": 0}, seed)


def die(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """Kill the process where `n` is 2."""
    count(db, parameters, seed)
    if parameters["n"] == 2:
        os.kill(os.getpid(), signal.SIGKILL)


def hang(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """Start a program that never ends, where `n` is 2, and wait for it."""
    count(db, parameters, seed)
    if parameters["n"] == 2:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        Path(parameters["pid_file"]).write_text(str(child.pid))
        child.wait()


def slow(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """Take a while."""
    time.sleep(parameters["seconds"])
    count(db, parameters, seed)


def end_otherwise(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """End with a status of its own."""
    db.update_simulation_status("cancelled")


def kill_worker_once(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """Kill the worker of which this is a child, the first time that `n` is 3."""
    count(db, parameters, seed)
    mark = Path(parameters["folder_of_marks"]) / "died"
    if parameters["n"] == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(3600)


def ishigami(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """Compute the function of Ishigami and Homma (1990), with a = 7 and b = 0.1."""
    x, y, z = (parameters[name] for name in "xyz")
    value = math.sin(x) + 7 * math.sin(y) ** 2 + 0.1 * z**4 * math.sin(x)
    db.update_simulation_status("completed", {"value": value})


def linear(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """Compute 3 x + y, whatever z is."""
    db.update_simulation_status("completed", {"value": 3 * parameters["x"] + parameters["y"]})


def die_once(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """Kill the process the first time that `n` is 3, in the middle of what it logs."""
    count(db, parameters, seed)
    db.flush_all_buffers()
    mark = Path(parameters["folder_of_marks"]) / "died"
    if parameters["n"] == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
