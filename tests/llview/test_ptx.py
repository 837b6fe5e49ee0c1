# SPDX-License-Identifier: Apache-2.0
"""
The PTX of every detector is accepted for the oldest GPUs, or with an argument for those; exit 77 without ptxas.
The detectors are those that the build has made (GPUSENTINEL_DETECTORS).
"""
import glob
import os
import shutil
import subprocess
import sys
import unittest

from support import HERE, Case, Manifest, llview

PTXAS = shutil.which("ptxas") or "/usr/local/cuda/bin/ptxas"
DETECTORS = os.environ["GPUSENTINEL_DETECTORS"]
ARCH = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1].startswith("sm_") else "sm_80"


class Ptx(Case):
    def check(self, *sources, args=()):
        out = self.out("ptx.so")
        done = llview(*sources, "-o", out, *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assemble(out)

    def assemble(self, out):
        ptx = Manifest.section(out, ".gpusentinel.ptx")
        self.assertEqual((ptx.count(b"\0"), ptx[-1:]), (1, b"\0"))
        for detector in Manifest(out).detectors:
            for entry in detector["function"], detector["function"].replace("gs_run_", "gs_loop_", 1):
                self.assertIn(b".visible .entry " + entry.encode() + b"(", ptx)
        with open(self.out("detector.ptx"), "wb") as f:
            f.write(ptx[:-1])
        done = subprocess.run([PTXAS, "-arch=" + ARCH, "-o", "/dev/null", self.out("detector.ptx")],
                              capture_output=True, text=True, timeout=300)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""), out)

    def test_the_detectors(self):
        found = sorted(glob.glob(os.path.join(DETECTORS, "*.so")))
        self.assertGreater(len(found), 20)
        for path in found:
            with self.subTest(os.path.basename(path)):
                self.assemble(path)

    def test_the_cases_of_run(self):
        for path in sorted(glob.glob(os.path.join(HERE, "run", "*.c"))):
            if not os.path.basename(path).startswith("two_"):
                with self.subTest(os.path.basename(path)):
                    self.check(path)
        both = [os.path.join(HERE, "run", f"two_{x}.c") for x in "ab"]
        self.check(*both, args=("-DHALVES=2",))


if __name__ == "__main__":
    if not os.access(PTXAS, os.X_OK):
        print("ptxas is not here: skipped", file=sys.stderr)
        sys.exit(77)
    unittest.main()
