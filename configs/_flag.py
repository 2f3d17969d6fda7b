"""What `--config=SPECIFICATION` is rewritten to, so that ml_collections' flag loads as everything else does: `_flag.py:SPECIFICATION`."""

from ml_collections import ConfigDict

from warmloop.configs import load
from warmloop.configs.schema import to_config_dict


def get_config(specification: str) -> ConfigDict:
    """The configuration of `FILE[:ARGUMENT][,PRESET…]`."""
    return to_config_dict(load(specification))
