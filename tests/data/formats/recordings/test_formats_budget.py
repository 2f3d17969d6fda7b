"""Small files that ask for much: refused in one sentence, in little memory; what is sound and compresses well is read in pieces."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import tfrecords
from broken import LAYOUTS, asks_for_memory, fixture, refused
from buffers import FIXTURES
from PIL import Image
from recorded import assert_same_experience

from warmloop.actor.films.film import Film
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import iterate_episodes, load_episodes
from warmloop.data.formats.hdf5 import deflated
from warmloop.data.formats.lerobot.mp4_size import frame_pixels
from warmloop.data.formats.lerobot.video_frames import Reel
from warmloop.data.formats.recordings import budget
from warmloop.data.pictures import ffmpeg

MEBIBYTE = 1 << 20


@pytest.fixture(autouse=True)
def little(monkeypatch):
    """So that files of kilobytes are bombs."""
    monkeypatch.setenv(budget.SETTING, "32MiB")


def flat(rows, width=64, **more):
    arrays = {"observations": np.zeros((rows, width), np.float32), "actions": np.zeros((rows, 1), np.float32), "rewards": np.zeros(rows)}
    return arrays | {"terminals": np.zeros(rows, bool), "timeouts": np.arange(rows) == rows - 1} | more


def deflated_hdf5(path, arrays, **how):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **({"compression": "gzip", "compression_opts": 9} | how))
    return path


def test_the_budget_is_in_proportion_to_the_file_and_a_setting_raises_it(monkeypatch):
    monkeypatch.delenv(budget.SETTING)
    assert budget.allowed(10 * MEBIBYTE) == budget.FREE + 10 * MEBIBYTE * budget.RATIO < 1 << 30
    with pytest.raises(WarmloopError, match=r"a.npz: `x` would take 5 GiB of memory, and 896 MiB .* set WARMLOOP_READ_MEMORY=6GiB"):
        budget.require("a.npz", "`x`", 5 << 30, 10 * MEBIBYTE)
    for said, bytes_ in (("8GiB", 8 << 30), ("8G", 8 << 30), ("1.5 mb", 3 << 19), ("100", 100)):
        monkeypatch.setenv(budget.SETTING, said)
        assert budget.allowed(0) == bytes_
    monkeypatch.setenv(budget.SETTING, "much")
    with pytest.raises(WarmloopError, match="WARMLOOP_READ_MEMORY is 'much'; write an amount of memory, such as 8GiB"):
        budget.allowed(0)


def test_an_archive_of_one_endless_episode_is_refused_with_what_it_would_take(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", **flat(200_000))
    assert (tmp_path / "bomb.npz").stat().st_size < MEBIBYTE
    assert "episode 0: it would take 51.5 MiB of memory" in asks_for_memory(refused(tmp_path / "bomb.npz"))


def test_many_small_episodes_are_refused_where_all_are_held_and_read_where_few_are(tmp_path):
    np.savez_compressed(tmp_path / "constant.npz", **flat(200_000, timeouts=np.arange(200_000) % 100 == 99))
    assert "holding its episodes would take" in asks_for_memory(refused(tmp_path / "constant.npz"))
    assert sum(len(e) for e in iterate_episodes(tmp_path / "constant.npz")) == 198_000, "sound data that compress well are streamed"


@pytest.mark.parametrize("name", ["terminals", "episode_ids", "metadata"])
def test_an_array_that_is_read_whole_is_refused_before_it_is_read(tmp_path, name):
    rows = 40 * MEBIBYTE
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for key, array in flat(10).items():
            shape = (rows,) if key == name else array.shape
            with archive.open(f"{key}.npy", "w") as member:
                _npy(member, np.zeros(1, bool) if key == name else array, shape)
        if name not in flat(1):
            with archive.open(f"{name}.npy", "w") as member:
                _npy(member, np.zeros(1, np.int8 if name == "episode_ids" else "S1"), (rows,))
    refused(tmp_path / "bomb.npz")


def _npy(member, array, shape):
    """An array of zeros of any shape, written a little at a time."""
    np.lib.format.write_array_header_1_0(member, {"descr": array.dtype.str, "fortran_order": False, "shape": shape})
    if array.shape == shape:
        member.write(array.tobytes())
        return
    for _ in range(shape[0] // MEBIBYTE):
        member.write(bytes(MEBIBYTE * array.dtype.itemsize))


def test_hdf5_of_constants_is_refused_where_it_would_take_too_much(tmp_path):
    path = deflated_hdf5(tmp_path / "bomb.hdf5", flat(200_000))
    assert path.stat().st_size < MEBIBYTE
    asks_for_memory(refused(path))


def test_a_chunk_of_hdf5_that_would_take_too_much_is_refused_whatever_is_asked_of_it(tmp_path):
    arrays = flat(2000, width=8192, timeouts=np.arange(2000) % 10 == 9)
    path = deflated_hdf5(tmp_path / "bomb.hdf5", {"observations": arrays.pop("observations")}, chunks=(2000, 8192))
    with h5py.File(path, "a") as file:
        for name, array in arrays.items():
            file[name] = array
    assert "a chunk of `observations` would take 62.5 MiB" in asks_for_memory(refused(path))


@pytest.mark.parametrize("kind", ["longer", "twice", "shuffled afterwards"])
def test_a_chunk_that_inflates_to_more_than_it_holds_is_refused_before_hdf5_inflates_it(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(deflated, "FREE", MEBIBYTE)
    rows = 400
    with h5py.File(tmp_path / "bomb.hdf5", "w") as file:
        arrays = flat(rows)
        shape, created = (rows, 64), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_chunk(shape)
        created.set_deflate(9)
        if kind == "twice":
            created.set_deflate(9)
        if kind == "shuffled afterwards":
            created.set_shuffle()
        made = h5py.h5d.create(file.id, b"observations", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(shape), created)
        made.write_direct_chunk((0, 0), zlib.compress(bytes(64 * MEBIBYTE), 9))
        for name in ("actions", "rewards", "terminals", "timeouts"):
            file[name] = arrays[name]
    assert "`observations` is compressed into more than its chunks hold" in refused(tmp_path / "bomb.hdf5")


def test_a_chunk_that_hardly_deflates_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(deflated, "FREE", MEBIBYTE)
    noise = np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32)
    (e,) = load_episodes(deflated_hdf5(tmp_path / "noise.hdf5", flat(2000, observations=noise), chunks=True, fletcher32=True))
    assert np.array_equal(e.steps.observation, noise[:-1])


def test_texts_that_stand_for_one_long_text_again_and_again_are_refused(tmp_path):
    path = fixture("robomimic.hdf5")(tmp_path)
    with h5py.File(path, "a") as file:
        listed = file.create_dataset("mask/long", (1000,), h5py.string_dtype())
        listed[0] = "a" * MEBIBYTE
        one = np.zeros(1, [("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
        place, size = listed.id.get_offset(), 16
        file.flush()
    content = bytearray(path.read_bytes())
    content[place : place + 1000 * size] = content[place : place + size] * 1000
    assert one.itemsize == size
    path.write_bytes(content)
    with pytest.raises(WarmloopError) as caught:
        load_episodes(f"{path}::long")
    asks_for_memory(str(caught.value))


def test_a_column_of_parquet_that_is_one_run_is_refused_where_an_episode_would_take_too_much(tmp_path, monkeypatch):
    path = fixture("lerobot-v3")(tmp_path)
    file = path / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(file)
    some = 3000
    monkeypatch.setenv(budget.SETTING, "1MiB")
    long = {"episode_index": np.zeros(some, np.int64), "frame_index": np.arange(some), "timestamp": np.arange(some) / 10}
    columns = {}
    for name in table.column_names:
        kind = table.schema.field(name).type
        value = table[name][0].as_py()
        columns[name] = pa.array(long[name].tolist(), kind) if name in long else pa.array([value] * some, kind)
    pq.write_table(pa.table(columns), file)
    asks_for_memory(refused(path))


def test_a_row_of_parquet_that_claims_a_billion_values_is_refused_before_it_is_read(tmp_path):
    path = fixture("lerobot-v3")(tmp_path)
    file = path / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(file)
    wide = pa.array([np.zeros(2 * MEBIBYTE, np.float32)] * table.num_rows, pa.list_(pa.float32()))
    pq.write_table(table.drop_columns(["action"]).append_column("action", wide), file)
    assert file.stat().st_size < MEBIBYTE
    assert "what is read at once would take" in asks_for_memory(refused(path))


def test_a_picture_that_unfolds_to_too_much_is_refused_before_it_is_decoded(tmp_path):
    path = fixture("lerobot-v3")(tmp_path)
    file = path / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(file)
    key = next(name for name in table.column_names if "images" in name)
    buffer = io.BytesIO()
    Image.new("RGB", (4000, 4000)).save(buffer, "PNG")
    pictures = [{"bytes": buffer.getvalue(), "path": None}] * table.num_rows
    pq.write_table(table.drop_columns([key]).append_column(key, pa.array(pictures, table.schema.field(key).type)), file)
    asks_for_memory(refused(path))


def packed(folder, size, content):
    """An RLDS data set whose array `packed`, stored by zlib, has `size` int16 in each step, and `content` in the second episode."""
    file = tfrecords.copy(folder)
    described = {"dtype": "int16", "encoding": "zlib", "shape": {"dimensions": [str(size)]}}
    tfrecords.redescribe(folder, "features.json", lambda found: deep_step(found)["packed"].update(tensor=described))
    parsed = tfrecords.examples(file)
    for example, steps in zip(parsed, (6, 5), strict=True):
        sound = zlib.compress(bytes(2 * size), 1) if size < MEBIBYTE else content
        tfrecords.replace(example, "steps/observation/packed", "bytes_list", [content if steps == 5 else sound] * steps)
    tfrecords.save(file, parsed)
    return folder


def deep_step(described):
    return tfrecords.step_features(described)["observation"]["featuresDict"]["features"]


def peak(path):
    """The sentence by which a file is refused, and the most memory that Python took."""
    tracemalloc.start()
    try:
        return refused(path), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_packed_tensor_of_rlds_that_would_take_too_much_is_refused_before_it_is_inflated(tmp_path):
    path = packed(tmp_path, 8 * MEBIBYTE, zlib.compress(bytes(16 * MEBIBYTE), 9))
    assert budget.size_of(path) < MEBIBYTE
    said, taken = peak(path)
    assert "episode 0: `steps/observation/packed` would take 96 MiB" in asks_for_memory(said) and taken < 8 * MEBIBYTE


def test_a_packed_tensor_of_rlds_whose_claim_has_no_bound_is_refused(tmp_path):
    assert "`steps/observation/packed` would take" in asks_for_memory(refused(packed(tmp_path, 2**80, zlib.compress(b"0"))))


def test_a_packed_tensor_of_rlds_that_inflates_to_more_than_promised_is_refused_in_little_memory(tmp_path):
    said, taken = peak(packed(tmp_path, 2, zlib.compress(bytes(64 * MEBIBYTE), 9)))
    assert "episode 1: `steps/observation/packed` has a step that unpacks to more than the 4 bytes that features.json promises" in said
    assert taken < 8 * MEBIBYTE


def test_a_packed_tensor_of_rlds_that_breaks_off_is_refused(tmp_path):
    said = refused(packed(tmp_path, 2, zlib.compress(bytes(4))[:-2]))
    assert "episode 1: `steps/observation/packed` cannot be decompressed" in said


def test_packed_tensors_of_rlds_within_the_budget_are_read(tmp_path):
    path = packed(tmp_path, 1000, zlib.compress(np.arange(1000, dtype="<i2").tobytes()))
    first, second = load_episodes(f"{path}::train")
    assert not first.steps.observation["packed"].any()
    assert np.array_equal(second.steps.observation["packed"], np.tile(np.arange(1000), (4, 1)))


def stored_minari(folder, change=lambda columns: columns, compression=None, kind="arrow"):
    """The Minari fixture with episode 1 changed, all in Arrow files that may be compressed, or in Parquet files."""
    path = fixture("minari-arrow")(folder)
    for index in range(3):
        file = path / "data" / str(index) / "part-0.arrow"
        with pa.ipc.open_file(file) as reader:
            table = reader.read_all()
        if index == 1:
            table = pa.table(change({name: table[name].combine_chunks() for name in table.column_names}))
        if kind == "parquet":
            file.unlink()
            pq.write_table(table, file.with_suffix(".parquet"), compression="zstd")
        else:
            with pa.ipc.new_file(file, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
                writer.write_table(table)
    described = path / "data" / "metadata.json"
    described.write_text(described.read_text().replace('"data_format": "arrow"', f'"data_format": "{kind}"'))
    return path


def many(rows):
    """A change of an episode's columns: so many rows, each as its first."""
    return lambda columns: {name: pa.concat_arrays([column[:1]] * rows) for name, column in columns.items()}


def wide(columns):
    """An episode whose rewards are lists, in all of 64 MiB of zeros."""
    count = len(columns["rewards"])
    zeros = pa.array(np.zeros(8 * MEBIBYTE // count * count))
    return columns | {"rewards": pa.FixedSizeListArray.from_arrays(zeros, 8 * MEBIBYTE // count)}


def grown(path):
    """The sentence by which a data set is refused, and the most memory that Arrow took for it, in a process of its own."""
    program = (
        "import sys, pyarrow; from warmloop.data.formats import load_episodes; from warmloop.data.errors import WarmloopError\n"
        "try: load_episodes(sys.argv[1])\n"
        "except WarmloopError as error: print(pyarrow.default_memory_pool().max_memory(), error)"
    )
    shown = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True).stdout
    taken, said = shown.split(" ", 1)
    return said, int(taken)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "compression"), [("arrow", "zstd"), ("arrow", "lz4"), ("parquet", None)])
def test_an_episode_of_minari_that_would_take_too_much_is_refused_before_it_is_unpacked(tmp_path, kind, compression):
    path = stored_minari(tmp_path, wide, compression, kind)
    assert budget.size_of(path) < MEBIBYTE
    said, taken = grown(path)
    assert "episode 1: it would take 64 MiB" in asks_for_memory(said) and taken < 8 * MEBIBYTE


@pytest.mark.long
def test_a_picture_that_parquet_stores_once_for_many_rows_is_refused_as_it_is_read(tmp_path):
    def heavy(columns):
        columns = many(1200)(columns)
        observations = columns["observations"]
        pictures = pa.array([bytes(MEBIBYTE // 4)] * 1200, pa.binary())
        return columns | {"observations": pa.StructArray.from_arrays([pictures, observations.field("robot")], ["camera", "robot"])}

    path = stored_minari(tmp_path, heavy, kind="parquet")
    assert budget.size_of(path) < MEBIBYTE
    said, taken = grown(path)
    assert "episode 1: it would take" in asks_for_memory(said) and 8 * MEBIBYTE < taken < 128 * MEBIBYTE


@pytest.mark.long
def test_columns_that_only_a_type_makes_large_are_refused(tmp_path):
    """A file without rows whose type says much, beside one that lacks the column: each row would be filled up."""
    path = stored_minari(tmp_path)
    schema = pa.schema([("padding", pa.list_(pa.float64(), 4 * MEBIBYTE))])
    with pa.ipc.new_file(path / "data" / "1" / "part-!.arrow", schema) as writer:
        writer.write_table(schema.empty_table())
    said, taken = grown(path)
    assert "episode 1: it would take 160 MiB" in asks_for_memory(said) and taken < 8 * MEBIBYTE


def test_buffers_of_arrow_that_lie_about_their_size_are_one_sentence(tmp_path):
    path = stored_minari(tmp_path, compression="zstd")
    file = path / "data" / "1" / "part-0.arrow"
    content, magic = file.read_bytes(), b"\x28\xb5\x2f\xfd"  # of a stream of zstd, after the size that it unpacks to
    for size in (1 << 40, -5, (1 << 63) - 1):
        place = content.index(magic) - 8
        file.write_bytes(content[:place] + size.to_bytes(8, "little", signed=True) + content[place + 8 :])
        said = refused(path)
        assert "its files cannot be read" in said if size < 0 else asks_for_memory(said)


def test_an_arrow_file_damaged_anywhere_gives_episodes_or_one_sentence(tmp_path):
    path = stored_minari(tmp_path, compression="zstd")
    file = path / "data" / "1" / "part-0.arrow"
    content, rng = file.read_bytes(), np.random.default_rng(0)
    for place in [*rng.integers(0, len(content), 100), *range(len(content) - 60, len(content))]:
        file.write_bytes(content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :])
        try:
            load_episodes(path)
        except WarmloopError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(("kind", "compression"), [("arrow", None), ("arrow", "zstd"), ("arrow", "lz4"), ("parquet", None)])
def test_episodes_of_minari_within_the_budget_are_read_however_they_are_stored(tmp_path, kind, compression):
    path = stored_minari(tmp_path, many(3000), compression, kind)
    first, second, third = load_episodes(path)
    assert_same_experience([first, third], load_episodes(FIXTURES / "minari-arrow")[::2])
    assert len(second) == 2999


def filmed(folder, size, claimed=None):
    """The LeRobot fixture with a film of black frames of `size`, of which the container may claim another size; and the film."""
    folder.mkdir(exist_ok=True)
    path = fixture("lerobot-v3-video")(folder)
    video = path / "videos" / "observation.images.wrist" / "chunk-000" / "file-000.mp4"
    with Film(video, 10.0) as film:
        for _ in range(12):
            film.append(np.zeros((size, size, 3), np.uint8))
    if claimed is not None:
        content = bytearray(video.read_bytes())
        described = content.index(b"stsd") + 12
        struct.pack_into(">HH", content, described + 32, claimed, claimed)
        video.write_bytes(content)
    return path, video


def test_a_video_whose_episode_would_take_too_much_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path, video = filmed(tmp_path, 2048)
    monkeypatch.setattr(ffmpeg, "start", lambda *line, **more: pytest.fail("it is decoded"))
    assert video.stat().st_size < MEBIBYTE
    said, taken = peak(path)
    assert f"{video}: an episode of it would take 60 MiB" in asks_for_memory(said) and taken < 8 * MEBIBYTE


@pytest.mark.long
@pytest.mark.parametrize("size", [2048, 4096])
def test_a_video_that_claims_smaller_frames_than_it_has_is_refused_before_one_is_taken(tmp_path, size, monkeypatch):
    """An episode of the first would take too much, and a frame of the second does, which ffmpeg does not decode."""
    path, video = filmed(tmp_path, size, claimed=64)
    told, too_large = [], Reel._too_large
    monkeypatch.setattr(Reel, "_too_large", lambda reel: told.append(too_large(reel)) or told[-1])
    said, taken = peak(path)
    assert f"{video}: an episode of it would take {15 * size**2 >> 20} MiB" in asks_for_memory(said) and taken < 8 * MEBIBYTE
    assert told == ([size**2] if size == 4096 else []), "by ffmpeg itself"


def test_videos_within_the_budget_are_read(tmp_path):
    assert [len(e) for e in load_episodes(fixture("lerobot-v3-video")(tmp_path / "a"))] == [4, 3, 2]
    for e in load_episodes(filmed(tmp_path / "b", 64)[0]):
        assert e.steps.observation["images.wrist"].shape == (len(e), 64, 64, 3)


def test_the_size_in_a_container_is_found_behind_large_boxes_and_any_damage_to_it_is_no_error(tmp_path):
    _, video = filmed(tmp_path, 64)
    content, rng = video.read_bytes(), np.random.default_rng(0)
    assert frame_pixels(video) == 64 * 64
    video.write_bytes(struct.pack(">I4sQ", 1, b"free", 24) + bytes(8) + content)
    assert frame_pixels(video) == 64 * 64
    start = content.index(b"moov")
    for place in rng.integers(start - 4, len(content), 300):
        video.write_bytes(content[:place] + bytes([rng.integers(256)]) + content[place + 1 :])
        assert frame_pixels(video) < 2**32
    for strange in (b"", content[:start], struct.pack(">I4s", 0, b"moov") * 10_000, b"\0" * 100_000):
        video.write_bytes(strange)
        assert frame_pixels(video) == 0


@pytest.mark.parametrize("name", ["lerobot", "rlds", "set"])
def test_json_without_end_is_one_sentence(tmp_path, name):
    deep = "[" * 100_000
    if name == "set":
        path = tmp_path / "set"
        path.mkdir()
        (path / "manifest.json").write_text(deep)
    else:
        path = LAYOUTS[name].make(tmp_path)
        (path / ("meta/info.json" if name == "lerobot" else "features.json")).write_text(deep)
    with pytest.raises(WarmloopError):
        load_episodes(path)


def test_metadata_without_end_beside_arrays_are_no_metadata_or_one_sentence(tmp_path):
    np.savez(tmp_path / "a.npz", **flat(10), metadata=np.array("[" * 100_000))
    try:
        assert len(load_episodes(tmp_path / "a.npz")) == 1
    except WarmloopError as error:
        assert str(tmp_path / "a.npz") in str(error)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_good_file_of_every_format_is_within_the_usual_budget(tmp_path, name, monkeypatch):
    monkeypatch.delenv(budget.SETTING)
    assert load_episodes(LAYOUTS[name].make(tmp_path))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["npz", "hdf5"])
def test_a_small_file_of_600_megabytes_of_zeros_is_refused_before_it_takes_them(tmp_path, kind, monkeypatch):
    """In a process of its own, whose memory is looked at."""
    monkeypatch.delenv(budget.SETTING)
    rows = 600_000
    path = tmp_path / f"bomb.{kind}"
    if kind == "npz":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, array in flat(1, width=256).items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    _rows(member, array, rows)
    else:
        with h5py.File(path, "w") as file:
            file.create_dataset("observations", (rows, 256), "f4", chunks=(1000, 256), compression="gzip", compression_opts=1)
            for first in range(0, rows, 1000):
                file["observations"].id.write_direct_chunk((first, 0), ZEROS)
            for name, array in flat(rows, width=1).items():
                if name != "observations":
                    file.create_dataset(name, data=array, compression="gzip")
    assert path.stat().st_size < 12 * MEBIBYTE
    program = (
        "import sys, resource; from warmloop.data.formats import load_episodes; from warmloop.data.errors import WarmloopError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: load_episodes(sys.argv[1])\n"
        "except WarmloopError as error: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)"
    )
    shown = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True).stdout
    grown, said = shown.split(" ", 1)
    assert "of memory" in said and int(grown) < 500 * 1024


ZEROS = zlib.compress(bytes(1000 * 256 * 4), 1)


def _rows(member, array, rows):
    shape = (rows, *array.shape[1:])
    np.lib.format.write_array_header_1_0(member, {"descr": array.dtype.str, "fortran_order": False, "shape": shape})
    left = rows * array[0:1].nbytes
    while left:
        left -= member.write(bytes(min(left, MEBIBYTE)))
