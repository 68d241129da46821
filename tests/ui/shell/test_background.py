"""Jobs beside the page: one for each key, told how far, stopped at the next word, and kept for those who look later."""

from __future__ import annotations

import threading

import pytest
from streamlit.testing.v1 import AppTest

from dfc.config import UserError
from dfc.ui.shell import background
from dfc.ui.shell.background import Job, Jobs
from tests.ui.pages import wait_until


def count(job: Job[str]) -> None:
    job.tell("counting <b>", 0, 3)
    for number in range(3):
        job.result = f"{number + 1} counted"
        job.tell(done=number + 1)
    job.tell("")


def test_it_tells_how_far_it_is_and_keeps_what_comes_of_it() -> None:
    job: Job[str] = Job(count, "texts")
    assert job.told == "getting ready, models are loaded …"
    job.work("count")
    assert (job.told, job.result, job.problem, job.finished) == ("3 of 3 texts", "3 counted", None, True)


def test_it_says_how_long_the_rest_will_take_once_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10.0
    monkeypatch.setattr(background.time, "monotonic", lambda: now)
    job: Job[str] = Job(count, "texts")
    job.tell("", 2, 12)
    assert (job.told, job.left) == ("2 of 12 texts", None)
    now = 11.0
    job.tell(done=7)
    assert job.told == "7 of 12 texts"  # one second is too little to go by
    now = 20.0
    assert job.told == "7 of 12 texts · about 10 s left"
    job.tell(done=12)
    assert job.told == "12 of 12 texts"


def test_stopped_it_ends_where_it_tells_and_keeps_what_it_has() -> None:
    def asked(job: Job[str]) -> None:
        job.stopped.set()
        count(job)

    job: Job[str] = Job(asked, "texts")
    job.work("count")
    assert (job.told, job.result, job.problem, job.finished) == ("0 of 3 texts · counting <b>", None, None, True)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("sets: name two."), "sets: name two."),
        (ValueError("odd"), "The count ended with an error: ValueError: odd"),
    ],
)
def test_what_goes_wrong_is_one_sentence(error: Exception, sentence: str) -> None:
    def fail(job: Job[str]) -> None:
        raise error

    job: Job[str] = Job(fail, "texts")
    job.work("count")
    assert (job.problem, job.finished) == (sentence, True)


def test_a_key_has_one_at_a_time_and_of_those_that_are_through_some_are_kept() -> None:
    jobs: Jobs[int, str] = Jobs("count")
    go_on = threading.Event()

    def wait(job: Job[str]) -> None:
        assert go_on.wait(60)

    first = jobs.start(1, Job(wait, "texts"))
    assert jobs.start(1, Job(count, "texts")) is first
    assert jobs.running(1) is first
    assert jobs.running(2) is None
    for key in range(2, 2 + 2 * background.KEPT):
        made = jobs.start(key, Job(count, "texts"))
        wait_until(lambda made=made: made.finished)  # type: ignore[misc]
    assert jobs.running(1) is first, "what runs is kept"
    assert [key for key in range(2 + 2 * background.KEPT) if jobs.of(key)] == [1, *range(11, 18)]
    go_on.set()
    wait_until(lambda: first.finished)
    kept = jobs.start(1, Job(count, "texts"), instead=lambda old: False)
    assert kept is first
    again = jobs.start(1, Job(count, "texts"))
    assert again is not first
    wait_until(lambda: again.finished)


def follow(jobs: object) -> None:
    import streamlit as st

    from dfc.ui.shell import background

    assert isinstance(jobs, background.Jobs)
    job = jobs.followed("run")
    if job is None:
        st.markdown("none")
    elif job.finished:
        jobs.forget()
        st.markdown(f"ended: {job.told}")
    else:
        background.progress(job, "What is done stays.")


def test_a_session_sees_it_stops_it_and_is_told_once_how_it_ended() -> None:
    jobs: Jobs[str, str] = Jobs("walk")
    begun = threading.Event()

    def walk(job: Job[str]) -> None:
        step = 0
        while True:
            step += 1
            job.tell("<b>walking", step, 10**9)
            begun.set()

    test = AppTest.from_function(follow, args=(jobs,)).run()
    assert test.markdown[0].value == "none"
    job = jobs.start("run", Job(walk, "steps"))
    assert begun.wait(60)
    test.run()
    button = test.button(key="stop_job")
    assert (button.label, button.help) == ("Stop", "What is done stays.")
    button.click().run()
    wait_until(lambda: job.finished)
    test.run()
    assert test.markdown[0].value == f"ended: {job.told}"
    assert not test.button
    assert test.run().markdown[0].value == "none"
    assert job.problem is None
