"""Rules: how a user wants names and parameters to be found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm_merge.merge.inputs.sidecar import Sidecars
from farm_merge.merge.plan.template import PathPattern, Template

if TYPE_CHECKING:
    from farm_merge.merge.options import Options

__all__ = ["Rules"]


class Rules:
    """How names and parameters of runs are found, checked before anything is read.

    Attributes:
        pattern: What finds parameters in paths.
        template: What runs are called.
        sidecars: Reads the files beside runs.

    Raises:
        InvalidOptionError: If the user's pattern, template or names of files are none.
    """

    def __init__(self, options: Options) -> None:
        text = options.parameters_from_name
        self.pattern = None if text is None else PathPattern(text)
        self.template = None
        if options.simulation_id is not None:
            self.template = Template(options.simulation_id, self.pattern, joins=options.join)
        self.sidecars = Sidecars(options.sidecars, joins=options.join)
