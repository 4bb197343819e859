"""A thread that works until it is told to stop."""

from threading import Event

from libs.background import Background


def test_it_works_until_it_is_stopped():
    begun, ended = Event(), Event()

    def work() -> None:
        begun.set()
        background.stopping.wait()
        ended.set()

    background = Background("test", work)
    background.start()
    assert begun.wait(10)
    assert not ended.is_set()
    assert background.stop(timeout_s=10)
    assert ended.is_set()


def test_one_that_hangs_is_given_up():
    hangs = Event()
    background = Background("test", hangs.wait)
    background.start()
    assert not background.stop(timeout_s=0.01)
    hangs.set()
    assert background.stop(timeout_s=10)
