"""Weights on the wire: whole and unaltered, or refused."""

import hashlib
import itertools

import jax
import numpy as np
import pytest
from wire_rows import SPEC, agent

from warmloop.data.errors import WarmloopError
from warmloop.data.transition import example
from warmloop.data.wire import MIB, weights
from warmloop.data.wire import warmloop_pb2 as pb


def template(of):
    return jax.eval_shape(lambda: of.actor_params(of.init(jax.random.key(0), example(SPEC))))


@pytest.fixture(scope="module")
def params():
    small = agent()
    return small.actor_params(small.init(jax.random.key(1), example(SPEC)))


@pytest.fixture(scope="module")
def large():
    return weights.Snapshot.of(7, {"w": np.arange(700_000, dtype=np.float32), "b": np.ones(3, np.float32)})


def test_an_agents_actor_arrives_as_it_was(params):
    snapshot = weights.assemble(weights.chunks(weights.Snapshot.of(3, params)))
    assert snapshot is not None
    assert snapshot.version == 3
    loaded = weights.load(snapshot, template(agent()))
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, loaded, params)


def test_chunks_are_at_most_a_mebibyte(large):
    sizes = [len(chunk.data) for chunk in weights.chunks(large)]
    assert max(sizes) == MIB
    assert sum(sizes) == len(large.data)
    assert len(sizes) == 3


def test_an_empty_stream_is_no_snapshot():
    assert weights.assemble(iter(())) is None


def test_an_altered_chunk_is_found(large):
    chunks = list(weights.chunks(large))
    chunks[1].data = b"\1" + chunks[1].data[1:]
    with pytest.raises(weights.Damaged, match=r"version 7 .* sha256"):
        weights.assemble(chunks)


@pytest.mark.parametrize("order", [(0, 1), (0, 2, 1)], ids=["missing", "reordered"])
def test_missing_and_reordered_chunks_are_found(large, order):
    chunks = list(weights.chunks(large))
    with pytest.raises(weights.Damaged):
        weights.assemble(chunks[i] for i in order)


def test_an_endless_stream_is_left_at_the_announced_size(large):
    header = next(weights.chunks(large))
    received = itertools.count()
    endless = (header if next(received) == 0 else pb.WeightsChunk(data=bytes(MIB)) for _ in itertools.repeat(None))
    with pytest.raises(weights.Damaged, match="larger"):
        weights.assemble(endless)
    assert next(received) <= 4


def test_a_snapshot_above_the_limit_is_refused(large):
    with pytest.raises(weights.Damaged, match="larger"):
        weights.assemble(weights.chunks(large), max_bytes=MIB)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x81\xa1a\xc7\xff\x01"], ids=["empty", "never used", "cut off"])
def test_bytes_that_are_no_parameters_are_refused(data):
    with pytest.raises(WarmloopError, match=r"cannot be read|another agent"):
        weights.load(weights.Snapshot(0, data, hashlib.sha256(data).digest()), template(agent()))


def test_weights_of_other_networks_are_refused_by_the_leafs_name(params):
    with pytest.raises(WarmloopError, match=r"another agent.*\[.*8.*\].*\[.*16.*\]"):
        weights.load(weights.Snapshot.of(0, params), template(agent(width=16)))
