"""A source returns the samples of its file, reads only the requested ones, and works in worker processes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle

import pytest
import soundfile
import torch

from nablafx_core.audio import reading as files
from nablafx_core.audio.resampling import check_ratio, resample
from nablafx_core.data import cache
from nablafx_core.data.sources import ArraySource, WavSource
from nablafx_core.errors import DataError
from nablafx_core.interfaces.dataset import channels_of, read_channels
from reference.small_disk import small_disk
from reference.waiting import PATIENCE

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def audio():
    return torch.randn(2, 5000, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def path(tmp_path, audio):
    files.write(tmp_path / "a.wav", audio, 48000)
    return tmp_path / "a.wav"


def test_channel_offset_and_length_choose_the_samples(path, audio):
    source = WavSource(path, channel=1, offset=100, num_samples=4000)
    assert source.num_samples == 4000
    assert torch.equal(source.read(10, 20), audio[1, 110:120])
    assert WavSource(path, offset=4990).num_samples == 10
    for start, stop in ((0, 4001), (-1, 5), (6, 5)):
        with pytest.raises(DataError, match="a.wav"):
            source.read(start, stop)


@pytest.mark.parametrize(
    "wrong", [{"channel": 2}, {"offset": 5001}, {"offset": 1, "num_samples": 5000}, {"offset": -1}]
)
def test_missing_channels_and_samples_are_rejected(path, wrong):
    with pytest.raises(DataError, match="a.wav"):
        WavSource(path, **wrong)


def test_reading_a_piece_of_a_long_file_reads_only_that_piece(tmp_path, monkeypatch):
    files.write(tmp_path / "long.wav", torch.zeros(1_000_000), 48000)
    read = []
    real = soundfile.SoundFile.read

    def counting(self, frames=-1, *arguments, **keywords):
        result = real(self, frames, *arguments, **keywords)
        read.append(len(result))
        return result

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    WavSource(tmp_path / "long.wav").read(500_000, 500_100)
    assert 100 <= sum(read) <= 110


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")
def test_the_number_of_open_files_is_bounded(tmp_path):
    open_files = len(os.listdir("/proc/self/fd"))
    for number in range(100):
        files.write(tmp_path / f"{number}.wav", torch.full((10,), float(number)), 48000)
        assert WavSource(tmp_path / f"{number}.wav").read(0, 10)[0] == number
    assert len(os.listdir("/proc/self/fd")) - open_files <= 64


def _sums(source, start, queue):
    queue.put([float(source.read(at, at + 50).sum()) for at in range(start, start + 2000, 50)])


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_workers_read_the_same_samples_as_the_parent(path, audio, method):
    source = WavSource(path)
    source.read(0, 10)  # the parent has the file open when the children begin
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    children = [context.Process(target=_sums, args=(source, 1000, queue)) for _ in range(2)]
    for child in children:
        child.start()
    wanted = [float(audio[0, at : at + 50].sum()) for at in range(1000, 3000, 50)]
    mine = [float(source.read(at, at + 50).sum()) for at in range(1000, 3000, 50)]
    assert [queue.get(timeout=PATIENCE) for _ in children] == [wanted, wanted]
    assert mine == wanted
    for child in children:
        child.join()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the platform does not fork")
def test_a_forked_child_does_not_move_the_parents_place_in_the_file(path, audio, monkeypatch):
    source = WavSource(path)
    source.read(0, 10)
    real = soundfile.SoundFile.seek
    child = multiprocessing.get_context("fork").Process(target=source.read, args=(4000, 4050))

    def interrupted(file, at, *whence):
        result = real(file, at, *whence)
        if at == 1000:
            child.start()
            child.join()
        return result

    monkeypatch.setattr(soundfile.SoundFile, "seek", interrupted)
    assert torch.equal(source.read(1000, 1050), audio[0, 1000:1050])
    assert child.exitcode == 0


def test_a_file_that_was_replaced_is_read_again(path, audio):
    assert torch.equal(WavSource(path).read(0, 5), audio[0, :5])
    files.write(path, torch.ones(1, 70), 48000)
    assert torch.equal(WavSource(path).read(0, 5), torch.ones(5))


def test_a_file_that_is_changed_or_removed_after_the_check_is_an_error(path, audio):
    changed, gone = WavSource(path), WavSource(path, channel=1)
    files.write(path, audio[:, :3000], 48000)
    with pytest.raises(DataError, match=r"a\.wav: .*changed"):
        changed.read(0, 10)
    path.unlink()
    with pytest.raises(DataError, match=r"a\.wav: .*removed"):
        gone.read(0, 10)


def test_a_file_that_is_truncated_while_it_is_read_is_an_error(path):
    source = WavSource(path)
    source.read(0, 10)
    os.truncate(path, 20_000)
    with pytest.raises(DataError, match=r"a\.wav: (ends at sample|is damaged|was changed)"):
        source.read(4000, 5000)


def test_a_file_with_another_rate_is_resampled_once(path, audio, cache_folder, monkeypatch):
    source = WavSource(path, sample_rate=44100)
    wanted = resample(audio, 48000, 44100)
    assert source.num_samples == wanted.shape[1]
    assert torch.equal(source.read(0, source.num_samples), wanted[0])
    monkeypatch.setattr(cache, "resample_blocks", None)
    assert torch.equal(WavSource(path, sample_rate=44100, channel=1).read(7, 9), wanted[1, 7:9])
    assert len(list(cache_folder.rglob("*.wav"))) == 1


def test_a_changed_file_is_resampled_again(path):
    WavSource(path, sample_rate=24000)
    files.write(path, torch.zeros(1, 5000), 48000)
    assert not WavSource(path, sample_rate=24000).read(0, 100).any()


@pytest.mark.parametrize("rate", [0, -48000, 10**9])
def test_an_invalid_sample_rate_is_rejected_before_memory_is_allocated(path, rate, cache_folder):
    with pytest.raises(DataError, match=rf"a\.wav: cannot be resampled to {rate} Hz.* 1,000 to 1,000,000"):
        WavSource(path, sample_rate=rate)
    assert not cache_folder.exists()


def test_rates_without_a_common_factor_are_rejected_before_memory_is_allocated_for_a_filter(tmp_path, cache_folder):
    """A filter between rates as odd as these has over 200,000 phases."""
    files.write(tmp_path / "odd.wav", torch.zeros(100), 999_999)
    with pytest.raises(DataError, match=r"odd\.wav: 999999 Hz .* 48000 Hz.* common divisor is 3"):
        WavSource(tmp_path / "odd.wav", sample_rate=48_000)
    assert not cache_folder.exists()
    check_ratio("pulled down.wav", 44_056, 48_000)


def test_a_truncated_copy_is_written_again(path, cache_folder):
    whole = WavSource(path, sample_rate=24000).read(0, 2500)
    (copy,) = cache_folder.rglob("*.wav")
    copy.write_bytes(copy.read_bytes()[:-1000])
    assert torch.equal(WavSource(path, sample_rate=24000).read(0, 2500), whole)


@pytest.mark.parametrize("read_only", [False, True], ids=["full", "read-only"])
def test_a_full_or_read_only_cache_is_an_error_that_names_the_setting(path, tmp_path, monkeypatch, read_only):
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "disk"))
    reason = "the cache folder cannot be created" if read_only else r"44100 Hz .*cannot be written"
    with small_disk(tmp_path / "disk", 8192, read_only=read_only):
        with pytest.raises(DataError, match=rf"{reason}(.|\n)*NABLAFX_CACHE"):
            WavSource(path, sample_rate=44100)
        assert not [file for file in (tmp_path / "disk").rglob("*") if file.is_file()]


@pytest.mark.parametrize("read_only", [False, True], ids=["full", "read-only"])
def test_results_that_cannot_be_cached_are_computed_with_one_warning(tmp_path, monkeypatch, caplog, read_only):
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "disk"))
    cache._warn_once.cache_clear()
    with small_disk(tmp_path / "disk", 4096, read_only=read_only), caplog.at_level(logging.WARNING):
        for key in "abc":
            assert cache.remembered("checked", key, str, lambda key=key: 5000 * key) == 5000 * key
        assert not [file for file in (tmp_path / "disk").rglob("*") if file.is_file()]
    assert len(caplog.records) == 1
    assert "NABLAFX_CACHE" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"[1, 2", b"null", b'{"a": 1}', b"\xff"])
def test_damaged_cache_entries_are_computed_again(cache_folder, damage):
    def value():
        return cache.remembered("numbers", "key", list[int], lambda: [1, 2, 3])

    assert value() == [1, 2, 3]
    (stored,) = cache_folder.rglob("*.json")
    stored.write_bytes(damage)
    assert value() == [1, 2, 3]
    assert stored.read_bytes() == b"[1,2,3]"


def test_the_files_own_rate_needs_no_cache(path, cache_folder):
    WavSource(path, sample_rate=48000)
    assert not cache_folder.exists()


def test_sources_can_be_pickled(path, audio):
    source = WavSource(path)
    source.read(0, 1)
    assert torch.equal(pickle.loads(pickle.dumps(source)).read(3, 5), audio[0, 3:5])


def test_an_array_is_a_source(audio):
    for source in (ArraySource(audio[0]), ArraySource(audio[:1])):
        assert (source.num_samples, source.channels) == (5000, 1)
        assert torch.equal(source.read(3, 8), audio[0, 3:8])
    stereo = ArraySource(audio)
    assert (stereo.num_samples, stereo.channels) == (5000, 2)
    assert torch.equal(stereo.read(3, 8), audio[:, 3:8])


def test_several_channels_of_a_file_are_one_source(path, audio):
    source = WavSource(path, channel=(1, 0), offset=100)
    assert (source.channels, WavSource(path, channel=[1]).channels) == (2, 1)
    assert torch.equal(source.read(10, 20), audio.flip(0)[:, 110:120])
    assert torch.equal(WavSource(path, channel=[1]).read(0, 5), audio[1, :5])
    assert torch.equal(pickle.loads(pickle.dumps(source)).read(3, 5), source.read(3, 5))
    with pytest.raises(DataError, match=r"a.wav: has no channel 2; it has 2"):
        WavSource(path, channel=(0, 2))


class Old:
    """Source of an older pack, without `channels`."""

    num_samples = 4

    def read(self, start, stop):
        return torch.arange(start, stop).float()


@pytest.mark.parametrize(("source", "channels"), [(Old(), 1), (ArraySource(torch.arange(8.0).reshape(2, 4)), 2)])
def test_channels_come_first_and_zeros_before_the_beginning(source, channels):
    assert channels_of(source) == channels
    expected = torch.tensor([[0.0, 0, 0, 1, 2], [0, 0, 4, 5, 6]])[:channels]
    assert torch.equal(read_channels(source, -2, 3), expected)
