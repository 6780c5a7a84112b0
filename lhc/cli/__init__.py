"""The command line: what parses and prints, one file a command. What a command does is in `lhc.commands`.

``lhc/cli/partition.py`` is ``lhc partition``; it reads options, calls the function of ``lhc/commands/partition.py`` and
shows what that returns. No logic is here. Results go to stdout, everything else to stderr.
"""

import atexit
import gc
import sys

__all__ = ["interrupt_again", "main"]


def main() -> None:
    """Entry point of the ``lhc`` command; Ctrl-C while it is still being loaded ends it without a traceback."""
    gc.disable()  # what is loaded stays; with `reporter` garbage is looked for
    atexit.register(gc.freeze)  # as it ends Python would walk all objects three times
    sys.unraisablehook = interrupt_again
    try:
        from lhc.cli.framework.app import main as loaded

        loaded()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


def interrupt_again(ignored: "sys.UnraisableHookArgs") -> None:
    """Hook of exceptions that Python ignores: a Ctrl-C among them comes again a moment later.

    Python drops what is raised in finalisers and in callbacks of weak references, as those of its own import locks.
    """
    if ignored.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(ignored)
        return
    import _thread
    import signal
    import threading

    def again() -> None:
        if hasattr(signal, "pthread_kill"):  # not on Windows; it ends a wait, too
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            _thread.interrupt_main()

    threading.Timer(0.05, again).start()
