"""Puts the runtime of pages in a single file into the wheel; without npm the wheel goes without."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path(__file__).parent / "src" / "sagan"


class RuntimeHook(BuildHookInterface):
    """Gets the runtime before files are gathered; pyproject.toml names where it lies."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatch; an editable installation goes without."""
        if version == "editable":
            return
        # The package without its __init__, which asks for the installed version.
        package = ModuleType("sagan")
        package.__path__ = [str(PACKAGE)]
        sys.modules["sagan"] = package
        from sagan.errors import SaganError
        from sagan.studio.runtime import get_runtime

        try:
            get_runtime()
        except SaganError as error:
            self.app.display_warning(f"no runtime for pages in a single file: {error}")
