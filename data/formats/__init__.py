"""Data sets in and out: one reader and one writer per format, one set of checks, episodes on either side.

A format is one entry of `FORMATS` (`known_formats.py`): how it is recognised, a reader from a path to a `Recording`, and where there is
one a writer from episodes to a path. Files that share an ending (.hdf5, .pkl) are told apart by what they hold.
"""

from .episode_reader import KINDS, iterate_episodes, load_episodes, load_sources, parse_source_argument, read_pieces
from .episode_writer import write_episodes, write_minari
from .known_formats import FORMATS, LIMITS, Format, format_of, own_metadata, recorded_environment, written_format
from .locations import content_of, place_of, stamp_of

__all__ = [
    "FORMATS",
    "KINDS",
    "LIMITS",
    "Format",
    "content_of",
    "format_of",
    "iterate_episodes",
    "load_episodes",
    "load_sources",
    "own_metadata",
    "parse_source_argument",
    "place_of",
    "read_pieces",
    "recorded_environment",
    "stamp_of",
    "write_episodes",
    "write_minari",
    "written_format",
]
