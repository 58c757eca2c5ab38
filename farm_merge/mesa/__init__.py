"""Mesa: a model and its DataCollector become a shard, and a batch an experiment database.

Model reporters are rows of `model_vars` by `step`, agent reporters rows of `agent_vars` by `step`
and `agent_id`, those of a type of agents rows of `agent_vars_TYPE`, and tables keep their names.
"""

from __future__ import annotations

from farm_merge.mesa.batch import Batch, batch_run
from farm_merge.mesa.recorder import Recorder, record
from farm_merge.mesa.shards import ShardWriter

__all__ = ["Batch", "Recorder", "ShardWriter", "batch_run", "record"]
