#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""install.py SOURCE BUILD: what is installed works where it lies, and is taken away without rest."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE, BUILD = (Path(sys.argv.pop(1)) for _ in range(2))
LOG = BUILD / "meson-logs" / "install-log.txt"


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=240,
                          check=False, **options)


def option(name):
    """The value of a Meson option of the build directory."""
    listed = run("meson", "introspect", "--buildoptions", BUILD).stdout
    return next(o["value"] for o in json.loads(listed) if o["name"] == name)


class Installation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Of an installation that a person made from this directory, `ninja uninstall` knows by this file.
        cls.log = LOG.read_bytes() if LOG.exists() else None
        cls.directory = Path(tempfile.mkdtemp(prefix="gpusentinel-install-"))
        cls.destination = cls.directory / "destination"
        done = run("meson", "install", "-C", BUILD, "--no-rebuild",
                   env=dict(os.environ, DESTDIR=str(cls.destination)))
        assert done.returncode == 0, done.stdout + done.stderr
        prefix = option("prefix").lstrip("/")
        cls.prefix = cls.destination / prefix
        cls.bin = cls.prefix / option("bindir")
        cls.lib = cls.prefix / option("libdir")
        cls.include = cls.prefix / option("includedir")
        cls.data = cls.prefix / option("datadir")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.directory)
        if cls.log is None:
            LOG.unlink(missing_ok=True)
        else:
            LOG.write_bytes(cls.log)

    def ok(self, *command, **options):
        done = run(*command, **options)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_1_all_parts_are_there(self):
        for path in (
            self.bin / "gpusentinel", self.bin / "grass", self.bin / "llview",
            self.lib / "libgpusentinel.a", self.lib / "pkgconfig/gpusentinel.pc",
            self.lib / "gpusentinel/device/rt.x86_64.bc", self.lib / "gpusentinel/device/rt.nvptx64.bc",
            self.data / "gpusentinel/log.rules",
            self.data / "bash-completion/completions/gpusentinel", self.data / "bash-completion/completions/grass",
            self.data / "bash-completion/completions/llview",
            self.data / "doc/gpusentinel/examples/prometheus/gpusentinel.rules.yml",
            self.data / "doc/gpusentinel/examples/grafana/gpusentinel.json",
            self.data / "doc/gpusentinel/examples/gpusentinel.conf",
            self.data / "doc/gpusentinel/writing-detectors.md",
        ):
            self.assertTrue(path.is_file(), path)
        # Packages say where systemd has its units.
        self.assertEqual(len([*self.destination.glob("**/systemd/system/gpusentinel.service")]), 1)

        def names(directory, pattern):
            return sorted(str(p.relative_to(directory)) for p in directory.glob(pattern))

        self.assertEqual(names(self.include, "gpusentinel/**/*.h"), names(SOURCE / "include", "gpusentinel/**/*.h"))
        self.assertEqual(names(self.lib / "gpusentinel/detectors", "*.so"), names(BUILD / "detectors", "*.so"))
        self.assertEqual(names(self.prefix / option("mandir"), "man*/*.[0-9]"),
                         sorted(f"man{p.suffix[1:]}/{p.name}" for p in (SOURCE / "docs/man").iterdir()))

    def test_2_programs_find_what_is_installed_beside_them(self):
        program = self.bin / "gpusentinel"
        files = {line.split()[-1] for line in self.ok(program, "list", "--long").split("\n\n")[0].splitlines()[1:]}
        self.assertGreater(len(files), 20)
        for file in files:
            self.assertEqual(Path(file).resolve().parent, (self.lib / "gpusentinel/detectors").resolve())
        self.ok(self.bin / "grass", "--version")
        # The rules over the log are read before the target is opened.
        rules = self.data / "gpusentinel/log.rules"
        text = rules.read_text(encoding="utf-8")
        rules.write_text("nonsense\n", encoding="utf-8")
        self.assertIn(f"{rules.name}:1", run(program, "-t", "core:/dev/null", "run", "--once", "log").stderr)
        rules.write_text(text, encoding="utf-8")

    def test_3_a_detector_compiles_against_what_is_installed(self):
        header = self.include / "gpusentinel/detector.h"
        header.write_text(header.read_text(encoding="utf-8") + "\n#define INSTALLED 1\n", encoding="utf-8")
        source = self.directory / "mine.c"
        source.write_text('#include <gpusentinel/detector.h>\n#include <gpusentinel/kernel.h>\n'
                          '#ifndef INSTALLED\n#error "headers of somewhere else"\n#endif\n'
                          'extern struct task_struct init_task __ksym;\n'
                          'DETECTOR(mine, .period_ms = 100)\n{\n\trow("comm=%s", init_task.comm);\n}\n', encoding="utf-8")
        mine = self.directory / "mine.so"
        self.ok(self.bin / "llview", source, "-o", mine)
        self.assertIn("mine", self.ok(self.bin / "gpusentinel", "list", mine))

        # Nor is the runtime that of somewhere else.
        (self.lib / "gpusentinel/device/rt.x86_64.bc").write_bytes(b"")
        self.assertNotEqual(run(self.bin / "llview", source, "-o", self.directory / "no.so").returncode, 0)

    def test_4_a_program_links_by_pkg_config(self):
        environment = dict(os.environ, PKG_CONFIG_PATH=str(self.lib / "pkgconfig"),
                           PKG_CONFIG_SYSROOT_DIR=str(self.destination))
        flags = self.ok("pkg-config", "--cflags", "--libs", "gpusentinel", env=environment).split()
        self.assertIn("-lgpusentinel", flags)
        program = self.directory / "library"
        self.ok(os.environ.get("CC", "cc"), "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", program,
                HERE / "library.c", *flags)
        done = run(program, self.lib / "gpusentinel/detectors/panic.so", self.lib / "gpusentinel/detectors/log.so")
        self.assertEqual(done.stdout.split(), ["panic", "log"])
        self.assertIn("/dev/null", done.stderr)
        self.assertNotIn(done.returncode, (0, 1))

    def test_5_uninstall_leaves_nothing(self):
        (self.lib / "of-others").touch()
        self.ok("ninja", "-C", BUILD, "uninstall")
        self.assertEqual([p for p in self.destination.rglob("*") if not p.is_dir()], [self.lib / "of-others"])
        self.assertFalse((self.include / "gpusentinel").exists())
        self.assertFalse((self.data / "doc").exists())


if __name__ == "__main__":
    unittest.main()
