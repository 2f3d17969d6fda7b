"""The packages of the extra `page`."""

from __future__ import annotations

import importlib.util

from ...data.errors import WarmloopError


def require_page_extra() -> None:
    """Raises WarmloopError where the packages of the extra `page` are missing."""
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise WarmloopError(f"The operator's page needs {' and '.join(missing)}; run `pip install 'warmloop[page]'`.")
