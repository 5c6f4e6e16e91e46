"""What optional work needs besides: the extras of this package, and how to install them."""

import re
from importlib.metadata import PackageNotFoundError, requires

_REQUIREMENT = re.compile(r"""([\w.-]+).*extra\s*==\s*['"]([\w-]+)['"]""")


def install(extra: str) -> str:
    """The command that installs what an extra needs, for messages.

    It names the packages themselves: on PyPI the name sagan belongs to another project, so that
    nobody should be told to install an extra of it from there.

    Example:
        >>> install("report")
        'pip install matplotlib'
    """
    try:
        requirements = requires("sagan") or []
    except PackageNotFoundError:  # used from a folder, without being installed
        requirements = []
    found = [match.groups() for line in requirements if (match := _REQUIREMENT.match(line))]
    packages = [package for package, of in found if of == extra]
    return f"pip install {' '.join(packages)}" if packages else f'pip install ".[{extra}]"'
