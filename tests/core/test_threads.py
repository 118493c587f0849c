"""Threads that use the library first at the same time get correct results, and keep their standard output."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from nablafx_core.first_result import first_result
from nablafx_core.pack_code import pack_code
from nablafx_core.registry import Registry
from nablafx_core.threads import torch_threads

pytestmark = pytest.mark.slow

PLUGIN = """
import threading
inside, calls = threading.Event(), []

@hookimpl
def nablafx_models():
    calls.append(threading.get_ident())
    if len(calls) == 1:
        assert inside.wait(600), "the other thread never asked"
    inside.set()
    return [Component("ladder", "nablafx_acme:Ladder", "4-pole"), Component("a/b", "nablafx_acme:Ladder", "wrong")]
"""


def test_components_are_complete_while_another_thread_collects_them(install):
    install("nablafx-acme", PLUGIN)
    with ThreadPoolExecutor(2) as pool:
        found = [each.result() for each in [pool.submit(Registry.discover().find, "model", "ladder") for _ in range(2)]]
    assert found[0].component is found[1].component
    assert len(found[0].pack.problems) == 1


def test_a_hook_may_ask_for_its_own_kind(install):
    source = "@hookimpl\ndef nablafx_models():\n    from nablafx_core.registry import Registry\n    known = list("
    source += "Registry.discover().entries('model'))\n    return [Component(f'n{len(known)}', 'a:B', '')]"
    install("nablafx-acme", source)
    assert Registry.discover().find("model", "n1").pack.name == "nablafx-acme"


def test_one_result_is_kept_for_all_threads():
    started = threading.Barrier(4)

    @first_result
    def made():
        started.wait()
        return object()

    with ThreadPoolExecutor(4) as pool:
        results = {each.result() for each in [pool.submit(made) for _ in range(4)]}
    assert results == {made()}
    made.cache_clear()
    started = threading.Barrier(1)
    assert made() not in results


FRESH = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor

stdout, barrier = sys.stdout, threading.Barrier(6)

def first(number):
    barrier.wait()
    if number % 2:
        from nablafx_core.registry import Registry
        return Registry.discover().find("preset", "capture-tcn").qualified_name
    import nablafx_core
    section = {"name": "graybox", "processors": [{"name": "gain", "controller": "static"}]}
    return type(nablafx_core.build("model", section)).__name__

with ThreadPoolExecutor(6) as pool:
    print(*sorted(set(pool.map(first, range(6)))))
assert sys.stdout is stdout
"""


def test_a_process_may_begin_with_several_threads():
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("GrayBox nablafx-models/capture-tcn\n", 0), done.stderr


@pytest.fixture
def other():
    with ThreadPoolExecutor(1) as pool:
        yield lambda call, *arguments: pool.submit(call, *arguments).result()


def say(text):
    sys.stdout.write(f"{text}\n")


def test_redirected_output_does_not_affect_other_threads(capsys, other):
    before, ours, theirs = sys.stdout, pack_code(), pack_code()
    ours.__enter__()
    say("ours in a pack")
    other(say, "theirs")
    other(theirs.__enter__)
    other(say, "theirs in a pack")
    ours.__exit__(None, None, None)
    say("ours")
    other(theirs.__exit__, None, None, None)
    assert sys.stdout is before
    assert capsys.readouterr() == ("theirs\nours\n", "ours in a pack\ntheirs in a pack\n")


def test_output_that_another_thread_redirects_meanwhile_stays_redirected(capsys, other):
    before, target = sys.stdout, io.StringIO()
    redirect = contextlib.redirect_stdout(target)
    with pack_code():
        other(redirect.__enter__)
    other(say, "theirs")
    other(redirect.__exit__, None, None, None)
    with pack_code():
        say("ours in a pack")
    say("ours")
    assert sys.stdout is before
    assert target.getvalue() == "theirs\n"
    assert capsys.readouterr() == ("ours\n", "ours in a pack\n")


def test_an_output_that_a_pack_replaces_is_put_back():
    program = "import sys\nfrom nablafx_core.pack_code import pack_code\nbefore = sys.stdout\n"
    program += "with pack_code():\n    sys.stdout = sys.stderr\nassert sys.stdout is before"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_number_of_torch_threads_is_restored_in_any_order():
    before = torch.get_num_threads()
    first, second = torch_threads(before + 1), torch_threads(before + 2)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.get_num_threads() == before + 2
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == before
