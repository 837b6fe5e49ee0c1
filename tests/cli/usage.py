#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage.py PROGRAM: what the command line does before there is a target: help, mistakes, exit codes."""
import os
import sys
import tempfile
import unittest

from program import DETECTOR, KERNEL, OK, TARGET, USAGE, HelpTests, OutputTests, Program

Program.path = sys.argv.pop(1)
Program.commands = ["info", "ps", "mem", "dmesg", "run", "serve", "status", "top", "list", "doctor", "dump"]


class Help(HelpTests, Program):
    def test_help_needs_no_target_and_wins_over_other_options(self):
        self.assertEqual(self.run_program("-t", "core:/nowhere", "ps", "--long", "--help").returncode, OK)


class Mistakes(OutputTests, Program):
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
                        result = self.run_program("-t", f"core:{image.name}", "--json", *layout, command)
                        self.assertIn(result.returncode, (TARGET, KERNEL), result.stderr)
                        self.assertEqual(result.stdout, "")
                        self.assertRegex(result.stderr, r"\Agpusentinel: [^\n]+\n\Z")

    def test_control_characters_of_targets_do_not_reach_the_terminal(self):
        self.assertNotIn("\x1b", self.run_program("-t", "core:/no\x1b[2Jwhere", "ps").stderr)


class Detectors(Program):
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
                result = self.run_program("list", file.name)
                self.assertEqual(result.returncode, DETECTOR, result.stderr)
                self.assertIn(file.name, result.stderr)


if __name__ == "__main__":
    unittest.main()
