"""The pools on the learner's device: rows and their priorities, and camera frames stored once."""

from .replay import ReplayConfig as ReplayConfig
