#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""completion.py GPUSENTINEL GRASS LLVIEW: the completion for bash, beside what the programs say and take."""
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = HERE.parent.parent / "packaging" / "completion"
BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")
GPUSENTINEL, GRASS, LLVIEW = (os.path.abspath(sys.argv.pop(1)) for _ in range(3))

# What bash does at a tab: words split at COMP_WORDBREAKS, the function of the program's `complete -F`.
DRIVER = r"""
. "$1"; . "$2"
function=$3 COMP_LINE=$4; shift 4
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_POINT=${#COMP_LINE}
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
"$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


def complete(program, line, **where):
    """What follows the program's name in @line, whose last word is to be completed -> the set of proposals."""
    words = [w for word in line.split(" ") for w in re.findall(r"[:=]+|[^:=]+", word) or [""]]
    if words[-1] in (":", "="):
        words.append("")
    name = "llview" if program == LLVIEW else "gpusentinel"
    done = subprocess.run(
        ["bash", "-c", DRIVER, "driver", str(BASH_COMPLETION), str(FILES / f"{name}.bash"), f"_{name}",
         f"{program} {line}", program, *words],
        capture_output=True, text=True, timeout=60, check=False, **where)
    # Outside of readline, compopt has nothing to work on.
    errors = [e for e in done.stderr.splitlines() if "compopt: not currently executing" not in e]
    assert not errors, errors
    return {proposal for proposal in done.stdout.splitlines() if proposal}


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def long_options(text):
    return set(re.findall(r"--[a-z][a-z-]*", text))


class Programs(unittest.TestCase):
    def test_commands_are_those_of_the_help(self):
        for program in GPUSENTINEL, GRASS:
            text = run(program, "--help").stdout
            commands = set(re.findall(r"^  ([a-z]+) +[^- ]", text.split("\n\n")[1], re.MULTILINE))
            self.assertGreater(len(commands), 5)
            self.assertEqual(complete(program, ""), commands)
            self.assertEqual(complete(program, "d"), {c for c in commands if c.startswith("d")})

    def test_every_option_of_the_help_is_proposed_and_every_proposal_is_an_option(self):
        for program in GPUSENTINEL, GRASS:
            common = run(program, "--help").stdout.split("\n\n")[2]
            for command in complete(program, ""):
                text = run(program, command, "--help").stdout.split("\n\n", 1)[1]
                shown = long_options("\n".join(line for line in text.splitlines() if line.startswith("  -")))
                proposed = complete(program, f"{command} -")
                with self.subTest(program=os.path.basename(program), command=command):
                    self.assertLessEqual(shown | long_options(common) | {"--help", "--version"}, proposed)
                    for option in proposed:
                        # The program stops at an option that it does not know; --help is answered at once.
                        said = run(program, command, option, *(["1"] if option != "--help" else []), "--help")
                        self.assertNotIn("is no option", said.stderr, option)

    def test_serve_has_the_options_of_run_but_once(self):
        self.assertEqual(complete(GPUSENTINEL, "run --") - complete(GPUSENTINEL, "serve --"), {"--once"})

    def test_kinds_of_targets_are_those_that_the_program_knows(self):
        said = run(GPUSENTINEL, "-t", "x:", "info").stderr
        kinds = set(re.findall(r"\b(?:qemu:|core:|host\b)", said))
        self.assertGreaterEqual(len(kinds), 2, said)
        self.assertEqual(complete(GPUSENTINEL, "-t "), kinds)
        self.assertEqual(complete(GPUSENTINEL, "ps --target "), kinds)
        self.assertEqual(complete(GPUSENTINEL, "--target=co"), {"core:"})

    def test_targets_that_are_there(self):
        with tempfile.TemporaryDirectory() as directory:
            for name in "web1", "web2":
                os.mkdir(f"{directory}/{name}")
                Path(f"{directory}/{name}/qmp.sock").touch()
            lab = dict(os.environ, GPUSENTINEL_LAB=directory)
            # Only what follows the colon: readline takes it for the word.
            self.assertEqual(complete(GPUSENTINEL, "-t qemu:", env=lab), {"web1", "web2"})
            self.assertEqual(complete(GPUSENTINEL, "-t qemu:web2", env=lab), {"web2"})
            self.assertEqual(complete(GPUSENTINEL, f"-t core:{directory}/we"), {f"{directory}/web1", f"{directory}/web2"})

    def test_detectors_and_parameters(self):
        rows, params = run(GPUSENTINEL, "list").stdout.split("\n\n")
        detectors = {row.split()[0] for row in rows.splitlines()[1:]}
        self.assertIn("hung_task", detectors)
        for line in "list ", "-t qemu:a run ", "run --for 1 ", "serve panic ", "top -n 1 ":
            with tempfile.TemporaryDirectory() as empty:
                self.assertEqual(complete(GPUSENTINEL, line, cwd=empty), detectors)
        params = {f"{param.split()[0]}=" for param in params.splitlines()[1:]}
        self.assertEqual(complete(GPUSENTINEL, "run -p "), params)
        self.assertEqual(complete(GPUSENTINEL, "run --param memory.w"), {"memory.warn_percent="})

    def test_values_that_are_proposed_are_taken(self):
        for option in "-e ", "--engine ", "--engine=":
            self.assertEqual(complete(GPUSENTINEL, f"{option}"), {"auto", "cpu", "cuda"})
        said = run(GPUSENTINEL, "-t", "core:/dev/null", "dmesg", "--level", "x").stderr
        levels = set(re.findall(r"\b(?:emerg|alert|crit|err|warn|notice|info|debug)\b", said))
        self.assertLessEqual(levels, complete(GPUSENTINEL, "dmesg -l "))
        self.assertEqual(complete(GPUSENTINEL, "dmesg --level err,warn"), {"err,warn", "err,warn+"})
        self.assertEqual(complete(GPUSENTINEL, "ps -l "), set())
        self.assertEqual(complete(GPUSENTINEL, "top --sort "), {"cpu", "rss", "time", "pid"})
        fabrics = complete(GPUSENTINEL, "serve --fabric ")
        self.assertEqual(complete(GRASS, "ping --fabric "), fabrics)
        for fabric in fabrics:
            said = run(GPUSENTINEL, "-t", "core:/nowhere", "serve", "--keys", ".", "--fabric", fabric).stderr
            self.assertNotIn("no fabric", said)

    def test_hosts_and_keys_of_grass(self):
        with tempfile.TemporaryDirectory() as directory:
            hosts = Path(directory, "hosts")
            hosts.write_text("web1 # the first\nweb2@10.0.0.2:7411\n", encoding="utf-8")
            self.assertEqual(complete(GRASS, f"watch -H {hosts} w"), {"web1", "web2@10.0.0.2:7411"})
            self.assertEqual(complete(GRASS, "keys k", cwd=directory), set())
            self.assertEqual(complete(GRASS, f"keys {directory} "), {"ca", "host", "monitor"})


class Compiler(unittest.TestCase):
    def test_options_are_those_of_the_help(self):
        shown = long_options("\n".join(
            line for line in run(LLVIEW, "--help").stdout.splitlines() if re.match(r" +-", line)))
        proposed = complete(LLVIEW, "-")
        self.assertEqual({option.rstrip("=") for option in long_options(" ".join(proposed))}, shown | {"--usage", "--help"})
        self.assertLessEqual({"-o", "-I", "-D", "-U", "-W"}, proposed)

    def test_overlap(self):
        said = run(LLVIEW, "--overlap", "x", "a.c", "-o", "a.so").stderr
        ways = set(re.search(r"--overlap is (.*), not", said).group(1).replace(" or ", ", ").split(", "))
        self.assertEqual(complete(LLVIEW, "--overlap "), ways)

    def test_files(self):
        with tempfile.TemporaryDirectory() as directory:
            for name in "mine.c", "mine.so", "mine.h":
                Path(directory, name).touch()
            self.assertEqual(complete(LLVIEW, "mi", cwd=directory), {"mine.c"})
            self.assertEqual(complete(LLVIEW, "mine.c -o mi", cwd=directory), {"mine.so"})


if __name__ == "__main__":
    if not BASH_COMPLETION.exists():
        print("bash-completion is not installed")
        sys.exit(77)
    unittest.main()
