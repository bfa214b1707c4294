"""Nothing in a foreign file runs: each pickle here would leave a mark if anything of it did."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from sae_models.importers import import_sae
from sae_models.importers.pickled import RefusedError
from sae_models.importers.torch_file import read_torch_file
from tests.sae_models.test_importers import FIXTURES


def torch_zip(path: Path, data: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    """A file as torch.save makes them, with `data` for a pickle."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", bytes(64))
    return path


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


def tensor(offset: int, shape: tuple, stride: tuple, n: int = 16, key: str = "0") -> bytes:
    """The pickle of one tensor, which its storage may not have room for."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value[1] if isinstance(value, tuple) and value[:1] == ("persistent",) else None

    import io

    import torch
    from torch._utils import _rebuild_tensor_v2

    storage = ("persistent", ("storage", torch.FloatStorage, key, "cpu", n))
    file = io.BytesIO()
    Pickler(file, 2).dump({"x": Call(_rebuild_tensor_v2, storage, offset, shape, stride, False, None)})
    return file.getvalue()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("place", ["top", "state dict", "beside a whole SAE"])
def test_a_call_of_the_shell_is_refused_by_name(protocol: int, place: str, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    evil = Call(os.system, f"touch {mark}")
    content = {"top": evil, "state dict": {"encoder.weight": evil}, "beside a whole SAE": [{}, [evil]]}[place]
    path = torch_zip(tmp_path / "sae.pth", pickle.dumps(content, protocol=protocol))
    with pytest.raises(RefusedError, match=r"names posix\.system, which no SAE"):
        import_sae(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"c__builtin__\ngetattr\n(cos\nsystem\nS'x'\ntR.", r"__builtin__\.getattr"),
        (b"cbuiltins\neval\n(Vopen('ran', 'w')\ntR.", r"builtins\.eval"),
        (b"cbuiltins\n__import__\n(Vos\ntR.", r"builtins\.__import__"),
        # Lookalikes: a letter, a case, a longer path, something else in a module that is allowed.
        (b"covercomp1ete.sae.batchtopk_sae\nBatchTopKSAE\n)\x81.", "overcomp1ete"),
        (b"covercomplete.sae.batchtopk_sae\nbatchTopKSAE\n)\x81.", "batchTopKSAE"),
        (b"cevil.overcomplete.sae.batchtopk_sae\nBatchTopKSAE\n)\x81.", r"evil\.overcomplete"),
        (b"covercomplete.sae.batchtopk_sae\nos.system\n(Vtouch ran\ntR.", r"os\.system"),
        (b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.", "__globals__"),
        (b"ctorch.hub\nload\n(Va\nVb\ntR.", r"torch\.hub\.load"),
        # Names put together on the stack.
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", r"posix\.system"),
        (b"\x80\x04\x8c\x05torch\x8c\x1ann.Module.register_forward\x93.", r"torch\.nn\.Module"),
        # A class that is allowed, called or built with arguments.
        (b"ctorch.nn.modules.linear\nLinear\n(K\x03K\x03tR.", r"calls torch\.nn\.modules\.linear\.Linear"),
        (b"ctorch.nn.modules.linear\nLinear\nK\x03\x85\x81.", "with arguments"),
        # Opcodes that find and call things by themselves.
        (b"(S'touch ran'\nios\nsystem\n.", "opcode"),
        (b"(cos\nsystem\nVtouch ran\no.", r"os\.system"),
        (b"\x82\x01.", "opcode EXT1"),
        (b"ctorch\nfloat32\n)\x92.", "opcode|broken"),
    ],
)
def test_what_no_sae_needs_is_refused_by_name(data: bytes, named: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = torch_zip(tmp_path / "sae.pth", data)
    with pytest.raises(ValueError, match=named):
        import_sae(path)
    assert sorted(os.listdir(tmp_path)) == ["sae.pth"]


def test_a_module_of_the_right_name_is_not_imported(tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "modules" / "overcomplete"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(package.parent)
    path = Path(shutil.copy(FIXTURES / "overcomplete_published.pth", tmp_path))
    (tmp_path / "config.json").write_text('{"running_threshold": 0.829}')
    import_sae(path)
    assert not (tmp_path / "ran").exists()
    assert not any(name.startswith("overcomplete") for name in sys.modules)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"}",
        b"(.",
        b"K",
        b"h\x05.",
        b"}K\x01s.",
        b"}}K\x01s.",
        b"Q.",
        b"}b.",
        b"\x80\x02}q\x00(U",
        b"]]K\x01a",
    ],
)
def test_a_broken_pickle_is_one_sentence(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"sae\.pth"):
        import_sae(torch_zip(tmp_path / "sae.pth", data))


@pytest.mark.parametrize(
    ("offset", "shape", "stride", "n", "key"),
    [
        (0, (5, 4), (4, 1), 16, "0"),  # larger than its storage
        (1, (4, 4), (4, 1), 16, "0"),
        (-1, (2,), (1,), 16, "0"),
        (0, (2,), (-1,), 16, "0"),
        (0, (1 << 40,), (0,), 16, "0"),  # a number repeated until memory is full
        (0, (1 << 40,), (1,), 1 << 40, "0"),  # a storage that says more than the file has
        (0, (2,), (1,), 16, "1"),
        (0, (2,), (1,), 16, "../data.pkl"),
    ],
)
def test_tensors_stay_inside_their_storage(offset, shape, stride, n, key, tmp_path: Path) -> None:
    assert read_torch_file(torch_zip(tmp_path / "good.pth", tensor(0, (4, 4), (4, 1))))["x"].read().shape == (
        4,
        4,
    )
    with pytest.raises(ValueError, match=r"sae\.pth"):
        read_torch_file(torch_zip(tmp_path / "sae.pth", tensor(offset, shape, stride, n, key)))


def test_compressed_files_are_refused(tmp_path: Path) -> None:
    path = torch_zip(tmp_path / "sae.pth", pickle.dumps({}, 2), zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        import_sae(path)
