"""Helper processes answer line by line, and whatever ends them is said."""

from __future__ import annotations

import sys

import pytest

from focalnets.machine.workers import Answers, Worker, was_ended_by_the_system

HELPER = """
import os, signal, sys, time
from focalnets.machine.workers import read_lines, write_line

for job in read_lines(sys.stdin):
    if job["do"] == "double":
        write_line(sys.stdout, {"doubled": 2 * job["number"], "variable": os.environ.get("VARIABLE_OF_A_TEST")})
    elif job["do"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif job["do"] == "fail":
        raise SystemExit("broken\\n\\n")
    elif job["do"] == "sleep":
        time.sleep(1000)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    (tmp_path / "helper_of_a_test.py").write_text(HELPER)
    monkeypatch.syspath_prepend(tmp_path)
    workers = []

    def begin(**options):
        answers = Answers()
        workers.append(Worker("helper_of_a_test", answers, **options))
        return workers[-1], answers

    yield begin
    for worker in workers:
        worker.close()


def test_answers_come_in_order(start):
    worker, answers = start(environment={"VARIABLE_OF_A_TEST": "here"})
    for number in (1, 2):
        worker.send({"do": "double", "number": number})
    assert answers.next(30) == (worker, {"doubled": 2, "variable": "here"})
    assert answers.next(30) == (worker, {"doubled": 4, "variable": "here"})
    assert worker.is_running
    worker.close(kill=False)
    assert answers.next(1) == (worker, None)


def test_several_share_one_queue(start):
    first, answers = start()
    second = Worker("helper_of_a_test", answers)
    try:
        second.send({"do": "double", "number": 3})
        assert answers.next(30)[0] is second
        first.send({"do": "double", "number": 4})
        assert answers.next(30)[0] is first
    finally:
        second.close()


def test_silence_ends_after_the_time_given(start):
    worker, answers = start()
    worker.send({"do": "sleep"})
    with pytest.raises(TimeoutError, match=r"0\.2 s"):
        answers.next(0.2)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals of this kind")
@pytest.mark.parametrize(
    ("job", "words"),
    [("kill", "the system ended the process, as it does where memory runs out"), ("fail", "status 1: broken")],
)
def test_an_end_is_an_answer_and_is_explained(start, job, words):
    worker, answers = start()
    worker.send({"do": job})
    assert answers.next(30) == (worker, None)
    status = worker.wait()
    assert not worker.is_running
    assert was_ended_by_the_system(status) == (job == "kill")
    assert words in worker.explain_end(status)
    worker.send({"do": "double", "number": 1})  # nobody reads it, which is no error
