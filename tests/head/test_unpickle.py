import io
import os
import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatialavatar.errors import UserError
from spatialavatar.head.unpickle import read_model_file, restricted_load


def load(data: bytes):
    return restricted_load(io.BytesIO(data), "model.pkl")


class Runs:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_command_is_refused_by_name_and_not_run(tmp_path, protocol):
    witness = tmp_path / "ran"
    data = pickle.dumps({"v_template": Runs(os.system, f"touch {witness}")}, protocol)
    with pytest.raises(UserError, match=r"posix\.system|nt\.system"):
        load(data)
    assert not witness.exists()


@pytest.mark.parametrize("function", [eval, exec, open, getattr, __import__, os.remove, np.load, np.fromfile])
def test_other_ways_out_are_refused(function):
    with pytest.raises(UserError, match="asks to load"):
        load(pickle.dumps(Runs(function, "x")))


def test_a_command_inside_an_npz_is_refused(tmp_path):
    witness = tmp_path / "ran"
    payload = np.array(Runs(os.system, f"touch {witness}"), dtype=object)
    with open(tmp_path / "model.npz", "wb") as stream:
        np.savez(stream, v_template=payload)
    with pytest.raises(UserError, match="asks to load"):
        read_model_file(tmp_path / "model.npz")
    assert not witness.exists()


def test_attributes_of_admitted_things_are_out_of_reach():
    # Protocol 4 can ask for a dotted name.
    data = b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."
    with pytest.raises(UserError, match=r"numpy\.ndarray\.tofile"):
        load(data)


def test_reconstructor_makes_no_other_objects():
    data = b"\x80\x02ccopy_reg\n_reconstructor\ncnumpy\nndarray\nc__builtin__\nobject\nN\x87R."
    pickletools.dis(data, out=io.StringIO())
    with pytest.raises(UserError):
        load(data)


def test_plain_things_and_arrays_pass():
    content = {"a": [1, 2.5, "x", None, True, (b"\xff",)], "b": np.arange(6).reshape(2, 3), "c": np.float32(3)}
    for protocol in range(2, 6):
        back = load(pickle.dumps(content, protocol))
        assert back["a"] == content["a"] and back["c"] == 3
        np.testing.assert_array_equal(back["b"], content["b"])


def test_python_2_pickle_of_an_array():
    # What Python 2 wrote for numpy.array([1.0, 2.0]): text where Python 3 has bytes.
    data = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03(K\x01K\x02\x85"
        b"cnumpy\ndtype\nq\x04U\x02f8K\x00K\x01\x87Rq\x05(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x10\x00\x00\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\x00@tb."
    )
    np.testing.assert_array_equal(load(data), [1.0, 2.0])


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_noise_is_an_error_for_people_or_harmless(data):
    try:
        load(b"\x80\x02" + data)
    except UserError:
        pass


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_flipped_bytes_never_leak_another_error(position, flip):
    data = bytearray(pickle.dumps({"v_template": np.arange(12.0).reshape(4, 3), "f": np.arange(3)}, 2))
    data[position % len(data)] ^= flip
    try:
        load(bytes(data))
    except UserError:
        pass


def test_not_a_dictionary(tmp_path: Path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(UserError, match="named arrays, found list"):
        read_model_file(tmp_path / "model.pkl")
