# SPDX-License-Identifier: Apache-2.0
"""Compile small detectors and run their host code over made-up kernel memory."""
import ctypes
import mmap
import os
import pickle
import struct
import subprocess
import tempfile
import threading
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
LLVIEW = os.environ.get("LLVIEW", "llview")
# Arguments for every compilation, so that the same cases can be run with other options.
FLAGS = os.environ.get("LLVIEW_FLAGS", "").split()

# enum gs_slot_kind
KINDS = {
    0: "offset", 1: "size", 2: "exists", 3: "signed", 4: "lshift", 5: "rshift", 7: "type-id",
    8: "type-exists", 9: "type-size", 10: "enum-exists", 11: "enum-value", 12: "type-matches",
    64: "symbol", 65: "param",
}
OPTIONAL, SCALAR, BITFIELD = 1, 2, 4
ABSENT = 1 << 62
LOAD_KINDS = {1: "kernel", 2: "local", 3: "mixed", 4: "copy", 5: "store"}
STOP_NONE, STOP_BUDGET, STOP_BOUNDS, STOP_TRAP = range(4)

DIRECT = 0xFFFF888000000000


def llview(*args, cwd=None):
    return subprocess.run([LLVIEW, *FLAGS, *args], capture_output=True, text=True, cwd=cwd, timeout=120)


class Manifest:
    """The tables of a fat detector (gpusentinel/fat.h)."""

    def __init__(self, path):
        data = self.section(path, ".gpusentinel")
        magic, self.version, size, *tables = struct.unpack_from("<8sII12III", data)
        assert magic == b"GSFAT\r\n\x1a" and size == len(data), (magic, size, len(data))
        tables = list(zip(tables[0:12:2], tables[1:12:2]))
        start, count = tables[5]
        self.strings = data[start:start + count]
        self.sites = [
            {"file": self.text(f), "function": self.text(fn), "line": line, "column": column}
            for f, fn, line, column in self.rows(data, tables[3], "<IIII")]
        self.detectors = [
            {"name": self.text(n), "function": self.text(f), "description": self.text(d),
             "period_us": period, "threads": threads, "blocks": blocks, "budget": budget,
             "output": output, "site": self.sites[site]}
            for n, f, d, period, budget, output, site, threads, blocks, _
            in self.rows(data, tables[0], "<IIIIQQIIII")]
        self.slots = [
            {"kind": KINDS[kind], "flags": flags, "type_kind": type_kind, "name": self.text(name),
             "path": self.text(path), "site": self.sites[site], "size": size, "value": value}
            for kind, flags, type_kind, name, path, site, size, value
            in self.rows(data, tables[1], "<HHIIIIIQ")]
        self.formats = [
            {"format": self.text(f), "kind": kind, "site": self.sites[site], "nargs": nargs}
            for f, kind, site, nargs in self.rows(data, tables[2], "<IIII")]
        self.loads = [
            {"kind": LOAD_KINDS[kind], "size": size, "site": self.sites[site], "why": self.text(why)}
            for kind, size, site, why in self.rows(data, tables[4], "<IIII")]

    @staticmethod
    def rows(data, table, layout):
        offset, count = table
        size = struct.calcsize(layout)
        return [struct.unpack_from(layout, data, offset + i * size) for i in range(count)]

    def text(self, offset):
        return self.strings[offset:self.strings.index(b"\0", offset)].decode()

    @staticmethod
    def section(path, wanted):
        with open(path, "rb") as f:
            data = f.read()
        shoff, = struct.unpack_from("<Q", data, 0x28)
        size, count, names = struct.unpack_from("<HHH", data, 0x3A)
        headers = [struct.unpack_from("<IIQQQQIIQQ", data, shoff + i * size) for i in range(count)]
        for header in headers:
            name = data[headers[names][4] + header[0]:].split(b"\0", 1)[0].decode()
            if name == wanted:
                return data[header[4]:header[4] + header[5]]
        raise AssertionError(f"{path}: no section {wanted}")

    def slot(self, kind, name, path=""):
        for slot in self.slots:
            if (slot["kind"], slot["name"], slot["path"]) == (kind, name, path):
                return slot
        raise AssertionError(f"no slot {kind} {name}{path} in {self.slots}")


class Context(ctypes.Structure):
    """struct gs_ctx"""
    _fields_ = [
        ("map", ctypes.c_uint64), ("slots", ctypes.c_uint64), ("out", ctypes.c_uint64),
        ("out_size", ctypes.c_uint32), ("out_used", ctypes.c_uint32), ("out_lost", ctypes.c_uint64),
        ("budget", ctypes.c_uint64), ("faults", ctypes.c_uint64), ("fault_address", ctypes.c_uint64),
        ("walks", ctypes.c_uint64), ("stop", ctypes.c_uint32), ("stop_site", ctypes.c_uint32),
        ("now_ns", ctypes.c_uint64), ("run", ctypes.c_uint64), ("threads", ctypes.c_uint32),
        ("blocks", ctypes.c_uint32), ("fault_fn", ctypes.c_uint64), ("fault_arg", ctypes.c_uint64),
        ("block", ctypes.c_uint64), ("shared", ctypes.c_uint64), ("thread_index", ctypes.c_uint32),
        ("segment_hint", ctypes.c_uint32), ("private", ctypes.c_uint64 * 64),
    ]


class Segment(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint64) for n in ("phys", "end", "base", "present")]


class Map(ctypes.Structure):
    """struct gs_map"""
    _fields_ = [
        ("direct_base", ctypes.c_uint64), ("direct_size", ctypes.c_uint64),
        ("image_base", ctypes.c_uint64), ("image_size", ctypes.c_uint64),
        ("image_phys", ctypes.c_uint64), ("root_phys", ctypes.c_uint64), ("levels", ctypes.c_uint32),
        ("segment_count", ctypes.c_uint32), ("phys_mask", ctypes.c_uint64),
        ("vmemmap_base", ctypes.c_uint64), ("page_struct_size", ctypes.c_uint64),
        ("vmalloc_base", ctypes.c_uint64), ("percpu_offset", ctypes.c_uint64),
        ("percpu_start", ctypes.c_uint64), ("cpus", ctypes.c_uint32), ("pad", ctypes.c_uint32),
        ("segments", ctypes.c_uint64),
    ]


class Memory:
    """Kernel memory in the direct map, from DIRECT on; what lies behind it cannot be read."""

    def __init__(self, size=0x10000):
        self.data = bytearray(size)

    def put(self, offset, layout, *values):
        struct.pack_into("<" + layout, self.data, offset, *values)
        return DIRECT + offset

    def text(self, offset, text):
        self.data[offset:offset + len(text) + 1] = text.encode() + b"\0"
        return DIRECT + offset


def decode(manifest, out):
    """Records as (kind, values...) with integers as they come and strings as str."""
    records = []
    at = 0
    while at < len(out):
        size, kind, nargs, fmt, severity, flags, _, run = struct.unpack_from("<IHHIHHQQ", out, at)
        conversions = []
        text = manifest.formats[fmt]["format"].replace("%%", "")
        for part in text.split("%")[1:]:
            conversions.append(next(c for c in part if c in "diuxXocspfeg"))
        if kind == 3:
            conversions.insert(0, "u")
        if kind == 4:
            conversions[:0] = "uuu"
        assert len(conversions) == nargs
        item = at + 32
        values = []
        for conversion in conversions:
            word, = struct.unpack_from("<Q", out, item)
            item += 8
            if conversion == "s":
                length = word & 0xFFFFFFFF
                values.append(out[item:item + length].decode(errors="replace"))
                item += (length + 7) & ~7
            elif conversion in "di":
                values.append(word - (1 << 64) if word >> 63 else word)
            elif conversion in "feg":
                values.append(struct.unpack("<d", struct.pack("<Q", word))[0])
            else:
                values.append(word)
        assert item == at + size, (item, at, size)
        records.append((kind, severity, *values))
        at += size
    return records


class Result:
    """Of all threads: what the first one says, but for sums, and the first stop."""

    def __init__(self, contexts, records, raw):
        self.raw = raw
        stopped = next((c for c in contexts if c.stop != STOP_NONE), contexts[0])
        self.stop, self.stop_site = stopped.stop, stopped.stop_site
        self.faults = sum(c.faults for c in contexts)
        self.out_lost = sum(c.out_lost for c in contexts)
        self.fault_address, self.budget = contexts[0].fault_address, contexts[0].budget
        self.records = records
        # Most tests are about rows alone.
        self.rows = [r[2:] for r in records if r[0] == 1]


def _run_block(function, contexts):
    """All threads of a block, each with its context; a call of C lets the others go on."""
    threads = [threading.Thread(target=function, args=(ctypes.addressof(context),)) for context in contexts[1:]]
    for thread in threads:
        thread.start()
    function(ctypes.addressof(contexts[0]))
    for thread in threads:
        thread.join()


def _run(path, manifest, name, memory, slots, budget, runs, out_size, steps, count):
    library = ctypes.CDLL(path)
    pages = mmap.mmap(-1, len(memory.data) + mmap.PAGESIZE)
    pages[:len(memory.data)] = bytes(memory.data)
    base = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    libc = ctypes.CDLL(None, use_errno=True)
    guard = ctypes.c_void_p(base + len(memory.data))
    assert libc.mprotect(guard, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0

    segment = Segment(0, len(memory.data), base, 0)
    gs_map = Map(direct_base=DIRECT, direct_size=len(memory.data), levels=4, segment_count=1,
                 phys_mask=0x000FFFFFFFFFF000, root_phys=1 << 40, segments=ctypes.addressof(segment))
    values = (ctypes.c_uint64 * (len(slots) + 1))(*slots)
    outs = [ctypes.create_string_buffer(out_size) for _ in range(count)]
    # struct gs_block, with room to spare.
    block = ctypes.create_string_buffer(1 << 20)
    results = []
    for run in range(runs):
        now_ns, changes = steps[run] if steps else (12345, {})
        for offset, value in changes.items():
            struct.pack_into("<Q", pages, offset, value)
        contexts = [Context(map=ctypes.addressof(gs_map), slots=ctypes.addressof(values),
                            out=ctypes.addressof(out), out_size=out_size, budget=budget, now_ns=now_ns,
                            run=run, threads=count, blocks=1, block=ctypes.addressof(block))
                    for out in outs]
        for i, context in enumerate(contexts):
            context.thread_index = i
        function = getattr(library, "gs_run_" + name)
        function.argtypes = [ctypes.c_void_p]
        function.restype = None
        _run_block(function, contexts)
        raw = b"".join(out.raw[:context.out_used] for out, context in zip(outs, contexts))
        results.append(Result(contexts, decode(manifest, raw), raw))
    return results


class Detector:
    """A compiled detector."""

    def __init__(self, path):
        self.path = path
        self.manifest = Manifest(path)

    def slots(self, given):
        """Slot values: as given by (kind, name, path), else as in the detector's own types."""
        unused = set(given)
        values = []
        for slot in self.manifest.slots:
            key = (slot["kind"], slot["name"], slot["path"])
            if key in given:
                unused.discard(key)
                values.append(given[key])
            else:
                assert slot["kind"] != "symbol" or slot["flags"] & OPTIONAL, f"no address for {key}"
                values.append(slot["value"])
        assert not unused, f"no such slots: {unused} in {self.manifest.slots}"
        return values

    def run(self, memory=None, slots=None, name=None, budget=100000, runs=1, out_size=1 << 20, steps=None,
            threads=1):
        """Run in a child process, so that a crash is a result; the last run's Result, or all. Records of several
        threads come thread by thread.

        steps: for each run the engine's time, and words of memory that change before it.
        """
        runs = len(steps) if steps else runs
        memory = memory or Memory()
        values = self.slots(slots or {})
        name = name or self.manifest.detectors[0]["name"]
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                results = _run(self.path, self.manifest, name, memory, values, budget, runs, out_size,
                               steps, threads)
                with os.fdopen(writer, "wb") as f:
                    pickle.dump(results, f)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writer)
        with os.fdopen(reader, "rb") as f:
            data = f.read()
        _, status = os.waitpid(pid, 0)
        if status:
            raise AssertionError(f"the detector crashed: wait status {status:#x}")
        results = pickle.loads(data)
        return results if runs > 1 or steps else results[0]


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.built = {}

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def out(self, name):
        return os.path.join(self.scratch.name, name)

    def build(self, *names, args=()):
        """Compile files of run/ into one detector, without a word of complaint."""
        key = (*names, *args)
        if key not in self.built:
            path = self.out("+".join(n.replace("/", "_") for n in names) + ".so")
            sources = [os.path.join("run", n) for n in names]
            done = llview(*sources, "-o", path, *args, cwd=HERE)
            self.assertEqual((done.returncode, done.stderr), (0, ""), " ".join(names))
            self.built[key] = Detector(path)
        return self.built[key]

    def source(self, text, name="test.c", args=()):
        """Compile a detector that is given as text; the finished process and the output's path."""
        path = self.out(name)
        with open(path, "w") as f:
            f.write("#include <gpusentinel/detector.h>\n" + text)
        out = path + ".so"
        if os.path.exists(out):
            os.unlink(out)
        return llview(name, "-o", out, *args, cwd=self.scratch.name), out

    def detector(self, text, name="test.c", args=()):
        done, out = self.source(text, name, args)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return Detector(out)
