# SPDX-License-Identifier: Apache-2.0
"""What holds for the command line of any of the programs. Set Program.path and Program.commands, then inherit."""
import os
import subprocess
import unittest

# Exit codes; include/gpusentinel/error.h.
OK, OTHER, USAGE, TARGET, KERNEL, DETECTOR, ENGINE = range(7)


class Program(unittest.TestCase):
    path, commands = "", []

    @property
    def name(self):
        return os.path.basename(self.path)

    def run_program(self, *args, **options):
        options.setdefault("stdout", subprocess.PIPE)
        return subprocess.run([self.path, *args], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                              text=True, timeout=30, check=False, **options)

    def fails(self, code, says, *args, **options):
        result = self.run_program(*args, **options)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout or "", "")
        self.assertRegex(result.stderr, rf"\A{self.name}: [^\n]+\n\Z")
        self.assertIn(says, result.stderr)


class HelpTests:
    def fits_a_screen(self, *args):
        result = self.run_program(*args)
        self.assertEqual((result.returncode, result.stderr), (OK, ""))
        lines = result.stdout.splitlines()
        self.assertLessEqual(len(lines), 24)
        for line in lines:
            self.assertLessEqual(len(line), 80, line)
        return result.stdout

    def test_help_fits_a_screen_and_names_every_command(self):
        text = self.fits_a_screen("--help")
        for command in self.commands:
            self.assertIn(f"\n  {command} ", text)
        self.assertEqual(self.run_program("-h").stdout, text)

    def test_help_of_each_command_fits_a_screen_and_shows_an_example(self):
        for command in self.commands:
            text = self.fits_a_screen(command, "--help")
            self.assertTrue(text.startswith(f"Usage: {self.name} "), command)
            self.assertRegex(text, rf"\n  {self.name} .*{command}")
            # What stands for the program's own way of calling it.
            self.assertNotIn("$usage", text)
            self.assertNotIn("$example", text)

    def test_version(self):
        for args in (["--version"], ["ps", "--version"]):
            self.assertRegex(self.run_program(*args).stdout, rf"^{self.name} \d+\.\d+\.\d+\n$")


class OutputTests:
    def test_control_characters_do_not_reach_the_terminal(self):
        for args in (["ps", "no\x1b[2Jwhere"], ["no\x1b[2Jcommand"], ["ps", "--\x1b[2J"]):
            self.assertNotIn("\x1b", self.run_program(*args).stderr)

    def test_full_disk(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            self.fails(OTHER, "No space left", "--help", stdout=full)

    def test_reader_that_leaves_is_no_error(self):
        read, write = os.pipe()
        os.close(read)
        result = self.run_program("--help", stdout=write)
        os.close(write)
        self.assertEqual((result.returncode, result.stderr), (OK, ""))
