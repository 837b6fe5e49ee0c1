# SPDX-License-Identifier: Apache-2.0
"""A guest of the lab, for tests of `gpusentinel serve`."""
import os
import pathlib
import subprocess
import sys
import unittest

LAB = pathlib.Path(__file__).resolve().parents[2] / "lab" / "guest"


def lab(*args):
    subprocess.run([LAB, *args], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=400)


def named(kind):
    """The guest that the next argument names, or one for us to boot; and whether that is so."""
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        return sys.argv.pop(1), False
    return f"{kind}-{os.getpid()}", True


def main(guest, boots):
    """The tests of the program, on the guest."""
    if boots:
        lab("boot", guest, "--procs", "20")
    try:
        program = unittest.main(exit=False, verbosity=2)
    finally:
        if boots:
            lab("stop", guest)
    sys.exit(not program.result.wasSuccessful())
