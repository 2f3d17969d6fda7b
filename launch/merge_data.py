"""Gathers data sets: into a set that grows, or into one file of another format.

    warmloop merge --into=door demos=human.pkl suboptimal=monday.npz
    warmloop merge --out=everything.npz door extra.hdf5
    warmloop merge --into=door

FILE is a data set in any format that training takes, or KIND=FILE with KIND demos, suboptimal or random.

--into names a set: a folder that every command takes as a data set. A file or an episode with the same content is added once, whatever
the file is called. The set's manifest.json says where each episode came from. Without FILE, the command lists the contents of the set.

--out writes one file instead; its ending chooses the format, as with `warmloop collect`. All episodes are held in memory meanwhile.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from ..data.errors import WarmloopError
from .flags import data_flags
from .flags.common import output_path, progress, run
from .starting.platforms import prefer_cpu

flags.adopt_module_key_flags(data_flags)
INTO = flags.DEFINE_string("into", None, "Set to add the files to: a folder, which is made if it is missing.")
OUT = flags.DEFINE_string(
    "out", None, "File or folder for all episodes, in place of a set; its ending chooses the format, as in demos.npz or demos.pkl."
)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace --out if it exists.")


def main(files: Sequence[str]) -> None:
    prefer_cpu()
    if INTO.value is None and OUT.value is None:
        raise WarmloopError("Say where the data go: --into=FOLDER for a set that grows, or --out=FILE.")
    if INTO.value is not None and OUT.value is not None:
        raise WarmloopError("--into adds to a set that grows and --out writes a new data set; leave one of them out.")
    if OUT.value is not None and not files:
        raise WarmloopError("Name the data sets to merge, as in demos=human.pkl.")
    if OUT.value is not None:
        convert(files, output_path(OUT.value, OVERWRITE.value))
        return
    if files:
        add(Path(INTO.value or ""), files)
    show(Path(INTO.value or ""))


def add(directory: Path, files: Sequence[str]) -> None:
    """Takes files into a set, and says what became of each."""
    from ..data.sources.merge import merge

    with progress("episodes", None) as advance:
        taken = merge(directory, files, advance, data_flags.options())
    for file in taken:
        print(f"{file.path}: {'known already' if file.known else f'{file.new} new episodes of {file.episodes}'}")


def convert(files: Sequence[str], out: Path) -> None:
    """Writes the episodes of all files to one."""
    from ..data.formats import load_sources, parse_source_argument, write_episodes, written_format
    from ..data.sources.sources import recorded_metadata

    kept = recorded_metadata([parse_source_argument(file)[1] for file in files])
    written_format(out, kept)
    with progress("episodes", None) as advance:
        episodes = load_sources(files, advance, data_flags.options())
    write_episodes(out, episodes, {"merged_from": list(files)} | kept)
    print(f"{out}: {len(episodes)} episodes, {sum(map(len, episodes))} steps")


def show(directory: Path) -> None:
    """What is in a set."""
    from ..data.formats.collected import read_manifest

    manifest = read_manifest(directory)
    print(f"\n{'episodes':>9}{'steps':>10}{'success':>9}  kind         from")
    for number, file in enumerate(manifest.files):
        own = [episode for episode in manifest.episodes if episode.file == number]
        share = f"{sum(episode.success for episode in own) / len(own):.2f}" if own else "-"
        print(f"{len(own):>9}{sum(e.steps for e in own):>10}{share:>9}  {file.kind or '(its own)':<12} {file.path}, {file.added}")
    print(f"{len(manifest.episodes):>9}{sum(e.steps for e in manifest.episodes):>10}{'':>9}  in {directory}")


def cli() -> None:
    """The console script `merge_data`."""
    run(main, files=True)


if __name__ == "__main__":
    cli()
