#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage.py PROGRAM: what the command line does before there is a target: help, mistakes, exit codes."""
import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv.pop(1)
COMMANDS = ["info", "ps", "mem", "dmesg", "run", "serve", "top", "list", "dump"]

# Exit codes; include/gpusentinel/error.h.
OK, OTHER, USAGE, TARGET, KERNEL, DETECTOR, ENGINE = range(7)


def run(*args, **options):
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run([PROGRAM, *args], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          text=True, timeout=30, check=False, **options)


class Help(unittest.TestCase):
    def fits_a_screen(self, *args):
        result = run(*args)
        self.assertEqual((result.returncode, result.stderr), (OK, ""))
        lines = result.stdout.splitlines()
        self.assertLessEqual(len(lines), 24)
        for line in lines:
            self.assertLessEqual(len(line), 80, line)
        return result.stdout

    def test_help_fits_a_screen_and_names_every_command(self):
        text = self.fits_a_screen("--help")
        for command in COMMANDS:
            self.assertIn(f"\n  {command} ", text)
        self.assertEqual(run("-h").stdout, text)

    def test_help_of_each_command_fits_a_screen_and_shows_an_example(self):
        for command in COMMANDS:
            text = self.fits_a_screen(command, "--help")
            self.assertTrue(text.startswith("Usage: gpusentinel "), command)
            self.assertRegex(text, rf"\n  gpusentinel .*{command}")

    def test_help_needs_no_target_and_wins_over_other_options(self):
        self.assertEqual(run("-t", "core:/nowhere", "ps", "--long", "--help").returncode, OK)

    def test_version(self):
        for args in (["--version"], ["ps", "--version"]):
            self.assertRegex(run(*args).stdout, r"^gpusentinel \d+\.\d+\.\d+\n$")


class Mistakes(unittest.TestCase):
    def fails(self, code, says, *args, **options):
        result = run(*args, **options)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout or "", "")
        self.assertRegex(result.stderr, r"\Agpusentinel: [^\n]+\n\Z")
        self.assertIn(says, result.stderr)

    def test_command_line(self):
        for says, *args in (
            ("no command",),
            ("unknown command 'foo'", "foo"),
            ("-Z is no option", "-Z"),
            ("-Z is no option", "ps", "-Z"),
            ("--bogus is no option", "ps", "--bogus"),
            ("--json=3 takes no argument", "ps", "--json=3"),
            ("-t needs an argument", "ps", "-t"),
            ("--sort needs an argument", "ps", "--sort"),
            ("'x' is one argument too many", "ps", "x"),
            ("'x' is one argument too many", "mem", "--json", "x"),
            ("needs a target", "ps"),
            ("needs a target", "run"),
            ("--keys", "-t", "core:/nowhere", "serve"),
            ("no fabric 'x'", "-t", "core:/nowhere", "serve", "--keys", ".", "--fabric", "x"),
            ("-o FILE", "-t", "core:/nowhere", "dump"),
            ("--tail", "dmesg", "--tail", "many"),
            ("no level 'x'", "dmesg", "--level", "err,x"),
            ("at least one level", "dmesg", "--level", ""),
            ("--for", "run", "--for", "soon"),
            ("--for", "run", "--for", "nan"),
            ("--for", "run", "--for", "-1"),
            ("--period", "run", "--period", "0"),
            ("DETECTOR.NAME=VALUE", "run", "-p", "memory"),
            ("DETECTOR.NAME=VALUE", "run", "-p", "memory.limit"),
            ("DETECTOR.NAME=VALUE", "run", "--param", ".limit=1"),
            ("DETECTOR.NAME=VALUE", "run", "--param", "memory.=1"),
            ("takes a number", "run", "-p", "memory.limit=1k"),
            ("takes a number", "run", "-p", "memory.limit="),
            ("takes a number", "run", "-p", "memory.limit=-1"),
            ("takes a number", "run", "-p", "memory.limit=18446744073709551616"),
            ("exclude each other", "run", "--once", "--for", "1"),
            ("--budget", "--budget", "0", "ps"),
            ("--budget", "ps", "--budget", "99999999999999999999999"),
            ("foo:bar", "-t", "foo:bar", "ps"),
            ("nothing", "-t", "nothing", "ps"),
        ):
            with self.subTest(args=args):
                self.fails(USAGE, says, *args)

    def test_options_stand_before_or_after_the_command(self):
        for args in (["-t", "core:/nowhere", "--json", "ps"], ["ps", "-t", "core:/nowhere", "--json"],
                     ["ps", "--target=core:/nowhere"], ["--target", "core:/nowhere", "ps", "-l"]):
            self.fails(TARGET, "/nowhere", *args)

    def test_targets_that_are_none(self):
        self.fails(TARGET, "no-such-guest", "-t", "qemu:no-such-guest", "info")
        self.fails(TARGET, "/nowhere/qmp.sock", "-t", "qemu:/nowhere/qmp.sock", "info")
        with tempfile.TemporaryDirectory() as directory:
            self.fails(TARGET, directory, "-t", f"core:{directory}", "info")

    def test_images_without_a_kernel(self):
        with tempfile.NamedTemporaryFile() as image:
            for content in (b"", b"x", os.urandom(1 << 20), b"\x7fELF" + bytes(1 << 16),
                            bytes(1 << 20)):
                image.truncate(0)
                image.seek(0)
                image.write(content)
                image.flush()
                for layout in ([], ["--layout", "0:1M"]):
                    for command in ("info", "ps", "mem", "dmesg", "run"):
                        result = run("-t", f"core:{image.name}", "--json", *layout, command)
                        self.assertIn(result.returncode, (TARGET, KERNEL), result.stderr)
                        self.assertEqual(result.stdout, "")
                        self.assertRegex(result.stderr, r"\Agpusentinel: [^\n]+\n\Z")

    def test_control_characters_do_not_reach_the_terminal(self):
        for args in (["-t", "core:/no\x1b[2Jwhere", "ps"], ["no\x1b[2Jcommand"], ["ps", "--\x1b[2J"]):
            self.assertNotIn("\x1b", run(*args).stderr)

    def test_full_disk(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            self.fails(OTHER, "No space left", "--help", stdout=full)

    def test_reader_that_leaves_is_no_error(self):
        read, write = os.pipe()
        os.close(read)
        result = run("--help", stdout=write)
        os.close(write)
        self.assertEqual((result.returncode, result.stderr), (OK, ""))


class Detectors(unittest.TestCase):
    fails = Mistakes.fails

    def test_directory_is_an_option_or_in_the_environment(self):
        with tempfile.TemporaryDirectory() as empty:
            self.fails(DETECTOR, f"no detectors in {empty}", "--detectors", empty, "list")
            self.fails(DETECTOR, f"no detectors in {empty}", "list",
                       env={"GPUSENTINEL_DETECTORS": empty})
            self.fails(DETECTOR, f"no detector 'mine' in {empty}", "list", "mine", "--detectors",
                       empty, env={"GPUSENTINEL_DETECTORS": "/nowhere"})
        self.fails(DETECTOR, "/nowhere is not a directory", "list", "--detectors", "/nowhere")
        self.fails(DETECTOR, "GPUSENTINEL_DETECTORS: /nowhere", "list",
                   env={"GPUSENTINEL_DETECTORS": "/nowhere"})

    def test_damaged_file(self):
        with tempfile.NamedTemporaryFile(suffix=".so") as file:
            for content in (b"", b"\x7fELF" + bytes(100), os.urandom(5000)):
                file.truncate(0)
                file.seek(0)
                file.write(content)
                file.flush()
                result = run("list", file.name)
                self.assertEqual(result.returncode, DETECTOR, result.stderr)
                self.assertIn(file.name, result.stderr)


if __name__ == "__main__":
    unittest.main()
