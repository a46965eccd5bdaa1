"""What the package offers at its top."""

import subprocess
import sys

import pytest

import spatialavatar


@pytest.mark.parametrize("name", spatialavatar.__all__)
def test_everything_offered_is_there(name: str) -> None:
    assert callable(getattr(spatialavatar, name))


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import spatialavatar, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'creat_avatar'"):
        _ = spatialavatar.creat_avatar
