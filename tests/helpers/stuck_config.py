"""The lab's tiny configuration with an environment of `stuck_environment`: `--config=stuck_config.py:NAME`."""

import lab_config


def get_config(argument="Stuck"):
    config = lab_config.get_config()
    config.update_from_flattened_dict({"environment.id": f"stuck_environment:Stuck/{argument}-v0"})
    return config
