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
from tests.limited import answer_within, refused_within


def load(data: bytes):
    return restricted_load(data, "model.pkl")


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


def number(value: int) -> bytes:
    return value.to_bytes(4, "little")


LAUGHS = [b"]r" + number(n) + 2 * (b"(j" + number(n - 1) + b"e") for n in range(1, 40)]
BOMBS = {
    # Nine bytes: a table of 2^28 remembered objects.
    "memo": b"\x80\x02Nr\x00\x00\x00\x10.",
    "text memo": b"(p999999999\n.",
    # An array whose bytes are made by their number.
    "bytes by number": b"\x80\x02cnumpy.core.numeric\n_frombuffer\n(J\x00\x00\x00\x40cnumpy\ndtype\n"
    b"(X\x02\x00\x00\x00u1tRK\x01tR.",
    "bytearray": b"\x80\x05\x96\x00\x00\x00\x00\x01\x00\x00\x00ab.",
    # Forty lists, each holding the one before twice.
    "laughs": b"\x80\x02]r" + number(0) + b"Na" + b"".join(LAUGHS) + b".",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_short_pickle_takes_little_memory(name):
    assert len(BOMBS[name]) < 2000
    answer = answer_within(300, lambda: load(BOMBS[name]))
    assert name in ("memo", "text memo") or answer != "read"


def test_an_array_that_is_named_again_and_again_takes_little_memory():
    # One megabyte of bytes, and a thousand arrays of it.
    one = b"cnumpy.core.numeric\n_frombuffer\n(h\x00h\x01M\x00\x10\x85tR"
    data = b"\x80\x03B\x00\x80\x00\x00" + bytes(1 << 15) + b"q\x00" + b"cnumpy\ndtype\n(X\x02\x00\x00\x00f8tRq\x010"
    data += b"](" + one * 4000 + b"e."
    assert "far larger than the file" in refused_within(300, lambda: load(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indptr": np.array([0, 2**40, 2**40])}, "rows do not fit"),
        ({"indptr": np.array([0, 3, 2])}, "rows do not fit"),
        ({"indices": np.array([0, 9])}, "beyond its size"),
        ({"_shape": (2, 2**40)}, "far larger"),
        ({"_shape": (-2, 3)}, "without numbers"),
        ({"data": np.array(["a", "b"])}, "without numbers"),
    ],
)
def test_a_forged_sparse_matrix_is_refused(change, message):
    state = {"data": np.ones(2), "indices": np.array([0, 1]), "indptr": np.array([0, 1, 2]), "_shape": (2, 3)}

    class Matrix:
        def __setstate__(self, state):
            self.__dict__.update(state)

    Matrix.__module__, Matrix.__qualname__ = "scipy.sparse._csr", "csr_matrix"
    made = object.__new__(Matrix)
    made.__dict__.update(state | change)
    data = pickled_as(made)
    assert message in refused_within(300, lambda: load(data))


def test_a_sparse_matrix_is_read_as_scipy_means_it():
    from scipy.sparse import csc_matrix, csr_matrix

    dense = np.random.default_rng(0).normal(size=(4, 7)) * (np.random.default_rng(1).random((4, 7)) < 0.4)
    for kind in (csr_matrix, csc_matrix):
        np.testing.assert_array_equal(load(pickle.dumps(kind(dense), 2)), dense)


def pickled_as(made):
    """A pickle of an object whose class is not the one that it says."""
    stream = io.BytesIO()

    class Pickler(pickle._Pickler):
        def save_global(self, obj, name=None):
            self.write(b"c" + f"{obj.__module__}\n{obj.__qualname__}\n".encode())

    Pickler(stream, 2).dump(made)
    return stream.getvalue()


def test_a_function_cannot_be_changed():
    # BUILD with attributes for a function; they would stay for the next file.
    data = b"\x80\x02c_codecs\nencode\nN}U\x0c__defaults__)s\x86b."
    with pytest.raises(UserError, match="a function that is changed"):
        load(data)
    assert load(pickle.dumps({"a": b"\xff"}, 2)) == {"a": b"\xff"}


def test_a_container_that_holds_itself_is_refused():
    itself = []
    itself.append(itself)
    with pytest.raises(UserError, match="holds itself"):
        load(pickle.dumps(itself))


def test_an_array_of_objects_keeps_its_order():
    for order in "CF":
        array = np.empty((2, 3), object, order=order)
        for index in np.ndindex(array.shape):
            array[index] = np.arange(1 + index[0] + index[1])
        back = load(pickle.dumps(array, 2))
        assert back.shape == (2, 3)
        for index in np.ndindex(array.shape):
            np.testing.assert_array_equal(back[index], array[index])
