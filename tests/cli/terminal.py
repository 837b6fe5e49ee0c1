# SPDX-License-Identifier: Apache-2.0
"""A program on a pseudo-terminal, and what its screen shows: as much of an xterm as ncurses uses (TERM=xterm)."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

SEQUENCE = re.compile(rb"\x1b(?:\[([?>!]?)([0-9;]*)([@-~])|[()][0AB]|\][^\x07]*\x07|[=>78cDM])")


class Screen:
    """Characters and their attributes: a set of SGR numbers for each place."""

    def __init__(self, columns, lines):
        self.rest = b""
        self.resize(columns, lines)

    def resize(self, columns, lines):
        self.columns, self.lines = columns, lines
        self.text = [[" "] * columns for _ in range(lines)]
        self.styles = [[frozenset()] * columns for _ in range(lines)]
        self.x = self.y = self.top = 0
        self.bottom = lines - 1
        self.style = frozenset()
        self.alternate = False
        self.last = " "
        self.wrap = False

    def show(self):
        return ["".join(line).rstrip() for line in self.text]

    def put(self, char):
        # An xterm's line is full when the next character comes, not before.
        if self.wrap:
            self.x, self.wrap = 0, False
            self.feed_line()
        self.text[self.y][self.x] = char
        self.styles[self.y][self.x] = self.style
        self.last = char
        if self.x + 1 == self.columns:
            self.wrap = True
        else:
            self.x += 1

    def scroll(self, top, count):
        """Lines from top to the bottom margin go up, or down if the count is negative."""
        for table, empty in ((self.text, " "), (self.styles, frozenset())):
            for _ in range(min(abs(count), self.bottom + 1 - top)):
                del table[top if count > 0 else self.bottom]
                table.insert(self.bottom if count > 0 else top, [empty] * self.columns)

    def feed_line(self):
        if self.y == self.bottom:
            self.scroll(self.top, 1)
        else:
            self.y = min(self.y + 1, self.lines - 1)

    def clear(self, y, begin, end):
        for x in range(max(begin, 0), min(end, self.columns)):
            self.text[y][x] = " "
            self.styles[y][x] = frozenset()

    def control(self, private, numbers, final):
        first = numbers[0] if numbers else 0
        count = max(first, 1)
        self.wrap = self.wrap and final in "mhlb"
        if final in "Hf":
            self.y = min(count, self.lines) - 1
            self.x = min(max(numbers[1] if len(numbers) > 1 else 1, 1), self.columns) - 1
        elif final == "A":
            self.y = max(self.y - count, 0)
        elif final == "B":
            self.y = min(self.y + count, self.lines - 1)
        elif final == "C":
            self.x = min(self.x + count, self.columns - 1)
        elif final == "D":
            self.x = max(self.x - count, 0)
        elif final == "G":
            self.x = min(count, self.columns) - 1
        elif final == "d":
            self.y = min(count, self.lines) - 1
        elif final == "J":
            self.clear(self.y, self.x if first == 0 else 0, self.x + 1 if first == 1 else self.columns)
            for y in range(self.lines):
                if first == 2 or (first == 0 and y > self.y) or (first == 1 and y < self.y):
                    self.clear(y, 0, self.columns)
        elif final == "K":
            self.clear(self.y, self.x if first == 0 else 0, self.x + 1 if first == 1 else self.columns)
        elif final == "X":
            self.clear(self.y, self.x, self.x + count)
        elif final == "P":
            del self.text[self.y][self.x:self.x + count], self.styles[self.y][self.x:self.x + count]
            self.text[self.y] += [" "] * (self.columns - len(self.text[self.y]))
            self.styles[self.y] += [frozenset()] * (self.columns - len(self.styles[self.y]))
        elif final == "@":
            for table, empty in ((self.text, " "), (self.styles, frozenset())):
                table[self.y][self.x:self.x] = [empty] * count
                del table[self.y][self.columns:]
        elif final in "LM":
            self.scroll(self.y, count if final == "M" else -count)
        elif final in "ST":
            self.scroll(self.top, count if final == "S" else -count)
        elif final == "r":
            self.top = count - 1
            self.bottom = (numbers[1] if len(numbers) > 1 else self.lines) - 1
            self.x = self.y = 0
        elif final == "b":
            for _ in range(count):
                self.put(self.last)
        elif final == "m":
            for number in numbers or [0]:
                self.style = frozenset() if number == 0 else self.style | {number}
        elif final in "hl":
            if private and 1049 in numbers:
                self.alternate = final == "h"
        elif final != "t":
            raise AssertionError(f"unknown sequence {private} {numbers} {final}")

    def feed(self, data):
        data = self.rest + data
        at = 0
        while at < len(data):
            match = SEQUENCE.match(data, at)
            if match:
                if match.group(3):
                    numbers = [int(n or 0) for n in match.group(2).split(b";")] if match.group(2) else []
                    self.control(match.group(1), numbers, match.group(3).decode())
                elif match.group() == b"\x1bM":
                    if self.y == self.top:
                        self.scroll(self.top, -1)
                    else:
                        self.y -= 1
                at = match.end()
                continue
            if data[at:at + 1] == b"\x1b" and len(data) - at < 32:
                break
            length = next((n for lead, n in ((0xf0, 4), (0xe0, 3), (0xc0, 2)) if data[at] >= lead), 1)
            if len(data) - at < length:
                break
            char = data[at:at + length].decode()
            if char == "\r":
                self.x, self.wrap = 0, False
            elif char == "\n":
                self.feed_line()
            elif char == "\b":
                self.x, self.wrap = max(self.x - 1, 0), False
            elif char == "\t":
                self.x = min(self.x // 8 * 8 + 8, self.columns - 1)
            elif char >= " ":
                self.put(char)
            at += length
        self.rest = data[at:]


class Terminal:
    """A program that runs on a terminal; `with` ends it."""

    def __init__(self, command, columns=100, lines=30, **environment):
        self.screen = Screen(columns, lines)
        self.status = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                os.environ.update({"TERM": "xterm", "LC_ALL": "C.UTF-8", **environment})
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
                os.execvp(command[0], command)
            finally:
                os._exit(127)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait(10)
        os.close(self.fd)

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def resize(self, columns, lines):
        self.screen.resize(columns, lines)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, seconds):
        """What comes within that time; false at the program's end."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return False
            self.screen.feed(data)
            return bool(data)
        return True

    def until(self, condition, what, seconds=20):
        """Wait until the screen's lines fulfil a condition; they are returned."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            alive = self.read(0.1)
            lines = self.screen.show()
            if condition(lines):
                return lines
            if not alive:
                break
        raise AssertionError(f"{what}: not on the screen within {seconds} s:\n" + "\n".join(self.screen.show()))

    def wait(self, seconds=10):
        """The exit status."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                while self.read(0.1) and select.select([self.fd], [], [], 0)[0]:
                    pass
                return self.status
            self.read(0.05)
        raise AssertionError(f"it does not end within {seconds} s")
