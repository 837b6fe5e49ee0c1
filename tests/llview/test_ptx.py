# SPDX-License-Identifier: Apache-2.0
"""
The PTX of every detector is accepted for the oldest GPUs, or with an argument for those; exit 77 without ptxas.
The detectors are those that the build has made (GPUSENTINEL_DETECTORS).
"""
import concurrent.futures
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
    def each(self, check, paths):
        """Assembling takes seconds for one, so that each CPU has its own."""
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            done = {path: pool.submit(check, path) for path in paths}
        for path, future in done.items():
            with self.subTest(os.path.basename(path)):
                future.result()

    def check(self, *sources, args=()):
        out = self.out(os.path.basename(sources[0]) + ".so")
        done = llview(*sources, "-o", out, *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assemble(out)

    def assemble(self, out):
        ptx = Manifest.section(out, ".gpusentinel.ptx")
        self.assertEqual((ptx.count(b"\0"), ptx[-1:]), (1, b"\0"))
        for detector in Manifest(out).detectors:
            for entry in detector["function"], detector["function"].replace("gs_run_", "gs_loop_", 1):
                self.assertIn(b".visible .entry " + entry.encode() + b"(", ptx)
        text = self.out(os.path.basename(out) + ".ptx")
        with open(text, "wb") as f:
            f.write(ptx[:-1])
        done = subprocess.run([PTXAS, "-arch=" + ARCH, "-o", "/dev/null", text],
                              capture_output=True, text=True, timeout=300)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""), out)

    def test_the_detectors(self):
        found = sorted(glob.glob(os.path.join(DETECTORS, "*.so")))
        self.assertGreater(len(found), 20)
        self.each(self.assemble, found)

    def test_the_cases_of_run(self):
        self.each(self.check, [path for path in sorted(glob.glob(os.path.join(HERE, "run", "*.c")))
                               if not os.path.basename(path).startswith("two_")])
        both = [os.path.join(HERE, "run", f"two_{x}.c") for x in "ab"]
        self.check(*both, args=("-DHALVES=2",))


if __name__ == "__main__":
    if not os.access(PTXAS, os.X_OK):
        print("ptxas is not here: skipped", file=sys.stderr)
        sys.exit(77)
    unittest.main()
