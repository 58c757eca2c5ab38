"""Sweeps: a design of parameters times repetitions becomes shards, and these one experiment.

Every run writes a shard of its own, under a temporary name until it is complete. What a run
computes depends on its parameters and its seed alone, and the seed on the root seed and the
parameters alone: neither the number of workers nor their order matters, and a design that grows
keeps the runs it has.
"""

from __future__ import annotations

from farm_merge.sweep.design import Sweep
from farm_merge.sweep.engines import Engine, engine
from farm_merge.sweep.failures import Failure
from farm_merge.sweep.file import load_sweep
from farm_merge.sweep.outlook import Outlook, plan_sweep
from farm_merge.sweep.rerun import Rerun, rerun_simulation
from farm_merge.sweep.runs import Run, Runs
from farm_merge.sweep.sensitivity import Sensitivity, sensitivity
from farm_merge.sweep.summary import summarize
from farm_merge.sweep.sweep import SweepReport, run_sweep
from farm_merge.sweep.watch import watch_shards

__all__ = [
    "Engine",
    "Failure",
    "Outlook",
    "Rerun",
    "Run",
    "Runs",
    "Sensitivity",
    "Sweep",
    "SweepReport",
    "engine",
    "load_sweep",
    "plan_sweep",
    "rerun_simulation",
    "run_sweep",
    "sensitivity",
    "summarize",
    "watch_shards",
]
