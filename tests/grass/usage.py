#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage.py PROGRAM: what grass does before there is a host: help, mistakes, exit codes, keys."""
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from program import OK, OTHER, USAGE, HelpTests, OutputTests, Program  # noqa: E402 pylint: disable=wrong-import-position

Program.path = sys.argv.pop(1)
Program.commands = ["ping", "watch", "findings", "detectors", "params", "ps", "mem", "dmesg", "read", "dump", "hold", "keys"]


class Help(HelpTests, Program):
    pass


class Mistakes(OutputTests, Program):
    def test_command_line(self):
        for says, *args in (
            ("no command",),
            ("unknown command 'foo'", "foo"),
            ("-Z is no option; see 'grass --help'", "-Z"),
            ("--bogus is no option; see 'grass ps --help'", "ps", "--bogus"),
            ("needs a host", "ps"),
            ("needs a host", "watch"),
            ("about one host, not 2", "ps", "a", "b"),
            ("about one host, not 2", "ping", "a", "b"),
            ("is no host", "ping", "a b"),
            ("is no host", "ping", "web1@"),
            ("is no host", "ping", "web1@::1"),
            ("a port is a number", "ping", "web1:65536"),
            ("a port is a number", "ping", "web1@[::1]:x"),
            ("--count", "ping", "web1", "-c", "0"),
            ("--interval", "ping", "web1", "-i", "nan"),
            ("--timeout", "ping", "web1", "--timeout", "-1"),
            ("no fabric 'pigeons'", "ping", "web1", "--fabric", "pigeons"),
            ("--since", "findings", "web1", "--since", "yesterday"),
            ("DETECTOR.NAME=VALUE", "params", "web1", "-p", "memory"),
            ("takes a number", "params", "web1", "-p", "memory.x=y"),
            ("--misses", "watch", "web1", "--misses", "0"),
            ("an address and a length", "read", "web1"),
            ("a length is a number", "read", "web1", "0x1000", "many"),
            ("an address is a number", "read", "web1", "0x", "64"),
            ("needs a host", "read", "0x1000", "64"),
            ("-o FILE", "dump", "web1"),
            ("/nowhere", "ping", "-H", "/nowhere"),
            ("needs a host", "hold"),
            ("cannot be lent", "hold", "web1", "--via", "/nowhere"),
            ("a directory and what to make", "keys", "/nowhere/keys"),
            ("not 'castle'", "keys", "/nowhere/keys", "castle"),
            ("host needs a name", "keys", "/nowhere/keys", "host"),
            ("has no name: 'x'", "keys", "/nowhere/keys", "ca", "x"),
        ):
            with self.subTest(args=args):
                self.fails(USAGE, says, *args)

    def test_keys_that_are_not_there(self):
        self.fails(USAGE, "/nowhere: no keys there", "ping", "web1", "--keys", "/nowhere", "--fabric", "shm")
        with tempfile.TemporaryDirectory() as keys:
            self.fails(USAGE, "no monitor's certificate", "ping", "web1", "--keys", keys, "--fabric", "shm")
            for name in ("a.crt", "b.crt"):
                (pathlib.Path(keys) / name).touch()
            self.fails(USAGE, "--as NAME", "ping", "web1", "--keys", keys, "--fabric", "shm")

    def test_a_list_of_hosts_that_does_not_end(self):
        self.fails(USAGE, "too large", "ping", "-H", "/dev/zero")


class Keys(Program):
    def test_an_authority_and_what_it_signs(self):
        with tempfile.TemporaryDirectory() as directory:
            keys = pathlib.Path(directory) / "keys"
            for args in (["ca"], ["host", "web1", "web2"], ["monitor", "control-room"]):
                result = self.run_program("keys", str(keys), *args)
                self.assertEqual((result.returncode, result.stderr), (OK, ""))
            names = {"ca", "web1", "web2", "control-room"}
            self.assertEqual({path.name for path in keys.iterdir()},
                             {name + end for name in names for end in (".crt", ".key")})
            for name in names:
                self.assertEqual(stat.S_IMODE(os.stat(keys / f"{name}.key").st_mode), 0o600)
            for name in names - {"ca"}:
                subprocess.run(["openssl", "verify", "-CAfile", keys / "ca.crt", keys / f"{name}.crt"],
                               stdout=subprocess.DEVNULL, check=True)
            self.assertEqual(self.run_program("keys", str(keys), "ca").returncode, OTHER)
            self.assertEqual(self.run_program("keys", str(keys), "host", "../web3").returncode, USAGE)


if __name__ == "__main__":
    unittest.main()
