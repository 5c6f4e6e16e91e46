import threading

from sagan.system.signals import interruption


def test_outside_of_the_main_thread_work_goes_on_unheard():
    found = []

    def work():
        with interruption() as asked:
            found.append(asked.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
