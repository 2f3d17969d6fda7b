"""gym-hil's cube, its success told by a classifier from two small pictures that the agent does not see: a `--config` of by_classifier.py.

`cube_by_picture.py` alone has the pictures in the observation and the simulator's success, to record labelled frames from;
`cube_by_picture.py:DIR` has the classifier in DIR, and the observation of `configs/gym_hil.py:pick-cube`.
"""

import dataclasses

from ml_collections import ConfigDict

from warmloop.configs.gym_hil import PICTURES, task
from warmloop.configs.schema import to_config_dict


def get_config(classifier: str = "") -> ConfigDict:
    config = task("pick-cube")
    environment = dataclasses.replace(config.environment, kwargs=PICTURES | {"state_too": True})
    wrappers = (*environment.wrappers, "resize:64")
    if classifier:
        judged = {"success": f"classifier:{classifier}", "unseen": ("pixels.front", "pixels.wrist")}
        environment = dataclasses.replace(environment, wrappers=(*wrappers, "past_success"), **judged)
    else:
        environment = dataclasses.replace(environment, wrappers=wrappers)
    return to_config_dict(config.replace(environment=environment))
