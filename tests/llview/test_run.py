# SPDX-License-Identifier: Apache-2.0
"""What compiled detectors do, on the CPU, over made-up kernel memory."""
import os
import random
import re
import struct
import unittest

from support import (ABSENT, DIRECT, STOP_BOUNDS, STOP_BUDGET, STOP_NONE, STOP_TRAP, Case, Memory)

INIT = ("symbol", "init_task", "")
TASK = "struct", "task_struct"


def off(path):
    return ("offset", "task_struct", path)


class Fields(Case):
    def tasks(self, memory, at, layout):
        for i, start in enumerate(at):
            following = at[(i + 1) % len(at)]
            memory.put(start + layout["pid"], "i", i + 1)
            memory.text(start + layout["comm"], f"task{i + 1}")
            memory.put(start + layout["tasks"], "Q", DIRECT + following + layout["tasks"])
            memory.put(start + layout["weight"], "Q", 1000 + i)
            memory.put(start + layout["half"], "H", 7 + i)

    def walk(self, layout, at=(0x1000, 0x5000, 0x3000), last=None, budget=1000):
        detector = self.build("list.c")
        memory = Memory()
        self.tasks(memory, at, layout)
        if last is not None:
            memory.put(at[-1] + layout["tasks"], "Q", last)
        return detector.run(memory, {
            INIT: DIRECT + at[0], off(".pid"): layout["pid"], off(".comm"): layout["comm"],
            off(".tasks"): layout["tasks"], off(".tasks.next"): layout["tasks"],
            off(".load[2].weight"): layout["weight"],
            off(".load[1].half[1]"): layout["half"]}, budget=budget)

    local = {"pid": 0, "comm": 4, "tasks": 24, "weight": 72, "half": 66}
    moved = {"pid": 0x4f0, "comm": 0x7c3, "tasks": 0x3a8, "weight": 8, "half": 0x902}

    def test_offsets_come_from_slots(self):
        expected = [(1, "task1", 1000, 7), (2, "task2", 1001, 8), (3, "task3", 1002, 9)]
        for layout in self.local, self.moved:
            result = self.walk(layout)
            self.assertEqual(result.rows, expected)
            self.assertEqual((result.stop, result.faults), (STOP_NONE, 0))

    def test_list_that_ends_in_nothing_yields_zeroes_until_the_budget_is_gone(self):
        result = self.walk(self.moved, last=0xdead000000000100, budget=10)
        self.assertEqual(result.rows[3], (0, "", 0, 0))
        self.assertEqual(result.stop, STOP_BUDGET)
        self.assertGreater(result.faults, 0)

    def test_cyclic_list_ends_by_budget(self):
        result = self.walk(self.local, last=DIRECT + 0x5000 + 24, budget=7)
        self.assertEqual([r[0] for r in result.rows], [1, 2, 3, 2, 3, 2, 3, 2])
        self.assertEqual((result.stop, result.budget), (STOP_BUDGET, 0))

    def test_manifest(self):
        manifest = self.build("list.c").manifest
        self.assertEqual(manifest.detectors, [{
            "name": "list", "function": "gs_run_list", "description": "every task", "period_us": 250000,
            "threads": 1, "blocks": 1,
            "budget": 500, "output": 4096,
            "site": {"file": "run/list.c", "function": "gs_run_list", "line": 4, "column": 0}}])
        slot = manifest.slot(*off(".load[2].weight"))
        self.assertEqual((slot["type_kind"], slot["flags"], slot["size"], slot["value"]), (4, 2, 8, 72))
        self.assertEqual((slot["site"]["file"], slot["site"]["line"]), ("run/list.c", 9))
        self.assertEqual(manifest.slot(*off(".comm"))["flags"], 0)
        self.assertEqual([f["format"] for f in manifest.formats], ["pid=%d comm=%s weight=%llu half=%u"])

    def test_bit_fields_at_their_local_places(self):
        memory = Memory()
        word = 1 | (-5 & 63) << 1
        memory.put(0x100 + 88, "QQ", word, 0x123456789a)
        result = self.bits(memory, {})
        self.assertEqual(result.rows[0][:2], (1, -5))

    def bits(self, memory, slots):
        return self.build("bitfields.c").run(memory, {INIT: DIRECT + 0x100, **slots})

    def place(self, name, start, size, bit, width, sign):
        """Slots of a bit field: as libbpf's bpf_core_calc_field_relo() computes them."""
        return {off(name): start, ("size", "task_struct", name): size,
                ("lshift", "task_struct", name): 64 - (bit + width),
                ("rshift", "task_struct", name): 64 - width}

    def test_bit_fields_elsewhere(self):
        memory = Memory()
        memory.put(0x100 + 0x20, "B", 0x10)
        memory.put(0x100 + 0x30, "H", (-17 & 63) << 9)
        memory.put(0x100 + 0x40, "Q", 0xabcdef0123 << 20)
        result = self.bits(memory, {
            **self.place(".in_execve", 0x20, 1, 4, 1, False),
            **self.place(".nice", 0x30, 2, 9, 6, True),
            **self.place(".wide", 0x40, 8, 20, 40, False)})
        self.assertEqual(result.rows, [(1, -17, 0xabcdef0123), (1, -1, 0)])

    def test_bit_fields_that_became_whole_fields(self):
        memory = Memory()
        memory.put(0x100 + 0x20, "I", 1)
        memory.put(0x100 + 0x30, "i", -3)
        memory.put(0x100 + 0x40, "Q", 5)
        result = self.bits(memory, {
            **self.place(".in_execve", 0x20, 4, 0, 32, False),
            **self.place(".nice", 0x30, 4, 0, 32, True),
            **self.place(".wide", 0x40, 8, 0, 64, False)})
        self.assertEqual(result.rows[0], (1, -3, 5))

    def test_bit_fields_of_all_shapes(self):
        detector = self.build("shapes.c")
        pattern = random.Random(1)
        for data in b"\xff" * 64, b"\xa5" * 64, *(pattern.randbytes(64) for _ in range(20)):
            memory = Memory()
            memory.data[0x100:0x140] = data
            relocated, plain = detector.run(memory, {("symbol", "shapes", ""): DIRECT + 0x100}).rows
            self.assertEqual(relocated, plain)

    def test_questions(self):
        detector = self.build("questions.c")
        memory = Memory()
        memory.put(0x200, "q", -9)
        memory.put(0x300, "i", 4711)
        memory.text(0x400, "hello")
        memory.put(0x500, "Q", DIRECT + 0x400)
        common = {INIT: DIRECT + 0x100, off(".state"): 0x100, off(".name"): 0x400}
        result = detector.run(memory, {
            **common, ("symbol", "jiffies", ""): DIRECT + 0x300,
            ("size", "task_struct", ".comm"): 32, off(".load[2].inverse"): 0x4444,
            ("enum-value", "zone_type", "ZONE_DMA32"): 3, ("enum-value", "", "MIB_DROPS"): 5,
            ("type-size", "folio", ""): 64})
        self.assertEqual(result.rows, [(1, 32, 0x4444, 1), (1, 64), (1, 3), (5,), (-9,), ("ticks",), (4711,),
                                       ("hello",)])

        result = detector.run(memory, {
            **common, off(".state"): ABSENT, off(".name"): ABSENT, ("exists", "task_struct", ".name"): 0,
            ("type-exists", "folio", ""): 0, ("type-size", "folio", ""): 0,
            ("enum-exists", "zone_type", "ZONE_DMA32"): 0,
            ("enum-value", "zone_type", "ZONE_DMA32"): 0})
        self.assertEqual(result.rows[1:], [(0, 0), (0, 0), (4,), (0,), ("no ticks",)])
        self.assertEqual((result.faults, result.fault_address), (1, (DIRECT + 0x100 + ABSENT) % 2**64))

    def test_what_may_be_absent(self):
        manifest = self.build("questions.c").manifest
        optional = {(s["kind"], s["name"], s["path"]) for s in manifest.slots if s["flags"] & 1}
        self.assertIn(off(".name"), optional)
        self.assertIn(off(".state"), optional)
        self.assertIn(("type-size", "folio", ""), optional)
        self.assertIn(("enum-value", "zone_type", "ZONE_DMA32"), optional)
        self.assertIn(("symbol", "jiffies", ""), optional)
        self.assertNotIn(off(".load[2].inverse"), optional)
        self.assertNotIn(("symbol", "init_task", ""), optional)


class Local(Case):
    def local(self, detector, pid, runs=1, **put):
        memory = Memory()
        memory.put(0x100, "i", pid)
        memory.text(0x104, "kworker")
        memory.put(0x100 + 24, "Q", 0x1122334455667788)
        memory.put(0x100 + 104, "Q", put.get("name", 0))
        memory.put(0x100 + 40, "Q", put.get("weight", 0) % 2**64)
        memory.put(0x100 + 88, "B", (put.get("nice", 0) & 63) << 1)
        memory.text(0x800, "kernel text")
        return self.build("local.c").run(memory, {INIT: DIRECT + 0x100}, name=detector, runs=runs)

    def test_static_variables_keep_their_state(self):
        results = self.local("state", 5, runs=3)
        self.assertEqual([r.rows[0] for r in results], [(1, 5, 0), (2, 10, 5), (3, 15, 5)])

    def test_index_inside(self):
        self.assertEqual(self.local("array", 7).rows, [(), (49,)])

    def test_index_outside_stops(self):
        for pid in 8, -1, 0x7fffffff:
            result = self.local("array", pid)
            self.assertEqual((len(result.rows), result.stop), (1, STOP_BOUNDS), pid)
            result = self.local("write", pid)
            self.assertEqual((len(result.rows), result.stop), (1, STOP_BOUNDS), pid)

    def test_stop_names_its_place(self):
        result = self.local("write", 4)
        site = self.build("local.c").manifest.sites[result.stop_site]
        self.assertEqual((site["file"], site["line"]), ("run/local.c", 40))

    def test_tables_of_strings(self):
        self.assertEqual(self.local("tables", 1).rows, [("sleeping",), ("kthread", 0x200000), (ord("l"),)])
        result = self.local("tables", 2)
        self.assertEqual(result.rows, [("dead",), ("", 8), (ord("e"),)])
        self.assertEqual(result.stop, STOP_NONE)
        self.assertEqual(self.local("tables", 3).stop, STOP_BOUNDS)

    def test_copies(self):
        result = self.local("copies", 0, nice=7)
        self.assertEqual(result.rows, [("kwXrker", "rker", 0x1122334455667788), ("kworker",)])
        for nice in 9, -1:
            result = self.local("copies", 0, nice=nice)
            self.assertEqual((len(result.rows), result.stop), (1, STOP_BOUNDS))

    def test_mixed_pointers(self):
        for pid, text in (1, "own"), (2, "kworker"), (3, "constant"), (4, "kernel text"):
            result = self.local("mixed", pid, name=DIRECT + 0x800)
            self.assertEqual(result.rows, [(text,), (sum(map(ord, text[:3])),)])

    def test_hostile_pointers_are_never_followed_here(self):
        # 0x400000: where this very process may be mapped; the others: low, NULL, not canonical.
        for hostile in 0x400000, 1, 0, 0x7fffffffe000, 0x8000000000000000:
            result = self.local("mixed", 4, name=hostile)
            self.assertEqual(result.rows, [("",), (0,)])
            self.assertGreater(result.faults, 0)

    def test_index_turns_a_mixed_pointer(self):
        # Kernel address plus index wraps into user space; and a local one leaves its object.
        result = self.local("mixed_index", 1, name=DIRECT + 0x800, weight=-(DIRECT + 0x800) + 0x1000)
        self.assertEqual((result.rows[1:], result.stop), ([(0,)], STOP_NONE))
        self.assertEqual(self.local("mixed_index", 0, weight=1).rows[1:], [(ord("w"),)])
        self.assertEqual(self.local("mixed_index", 0, weight=8).stop, STOP_BOUNDS)
        self.assertEqual(self.local("mixed_index", 0, weight=DIRECT).stop, STOP_BOUNDS)


class Arithmetic(Case):
    def test_nothing_traps(self):
        memory = Memory()
        memory.put(0x100, "i", 65)
        memory.put(0x100 + 40, "QQQ", 0, 0, 2**64 - 1)
        result = self.build("arithmetic.c").run(memory, {INIT: DIRECT + 0x100}, name="arithmetic")
        smallest = -2**63
        self.assertEqual(result.rows, [
            (0, 7), (0, 7), (smallest, 0), (2, 2), (32, 64), (2**31 - 1,), (97.5, -1),
            (-1, ord("c"), 0xfffffff0, DIRECT + 0x100)])

    def test_atomics(self):
        for pid, nice, stop, rows in ((3, 8, STOP_NONE, 4), (3, 6, STOP_BOUNDS, 3), (4, 0, STOP_BOUNDS, 0)):
            memory = Memory()
            memory.put(0x100, "i", pid)
            memory.put(0x100 + 88, "B", nice << 1)
            result = self.build("atomics.c").run(memory, {
                INIT: DIRECT + 0x100, ("symbol", "schedule", ""): 0xffffffff81000000})
            self.assertEqual((result.stop, len(result.rows)), (stop, rows))
            self.assertEqual(result.rows[:3], [(5, 7), (1,), (8, 0xffffffff81000000)][:rows])

    def test_misaligned_field_of_a_copy(self):
        memory = Memory()
        memory.put(0x100 + 24, "QQ", 0x1122334455667788, 0x99aabbccddeeff00)
        result = self.build("local.c").run(memory, {
            INIT: DIRECT + 0x100, ("offset", "list_head", ".next"): 3}, name="copies")
        self.assertEqual(result.rows[0][2], 0xeeff001122334455)

    def test_unreachable_stops(self):
        for pid, stop, rows in (64, STOP_NONE, 2), (65, STOP_TRAP, 1), (66, STOP_TRAP, 1):
            memory = Memory()
            memory.put(0x100, "i", pid)
            result = self.build("arithmetic.c").run(memory, {INIT: DIRECT + 0x100}, name="impossible")
            self.assertEqual((result.stop, len(result.rows)), (stop, rows))


class Records(Case):
    def test_records(self):
        memory = Memory()
        memory.put(0x100, "i", 3)
        memory.data[0x104:0x104 + 16] = b"sixteen bytes lg"
        memory.put(0x100 + 40, "Q", 99)
        memory.put(0x100 + 104, "Q", DIRECT + 0x800)
        memory.text(0x800, "name")
        result = self.build("records.c").run(memory, {INIT: DIRECT + 0x100})
        comm = "sixteen bytes lg"
        self.assertEqual(result.records, [
            (2, 4, comm, 3), (3, 0, 99, comm), (1, 0, "name", "nam", 5), (1, 0, 12345, 0, 0, 1), (1, 0)])

    def test_string_up_to_unreadable_memory(self):
        memory = Memory(0x1000)
        memory.put(0x100 + 104, "Q", DIRECT + 0xffc)
        memory.data[0xffc:] = b"tail"
        result = self.build("records.c").run(memory, {INIT: DIRECT + 0x100})
        self.assertEqual(result.rows[0], ("tail", "tai", 5))

    def test_buffer_that_is_too_small(self):
        result = self.build("records.c").run(Memory(), {INIT: DIRECT + 0x100}, out_size=64)
        self.assertGreater(result.out_lost, 0)
        self.assertEqual(result.stop, STOP_NONE)


class Alarms(Case):
    # enum gs_state, enum gs_severity
    OPEN, CHANGED, CLOSED = 1, 2, 3
    INFO, WARNING, ERROR, CRITICAL = 1, 2, 3, 4
    MS = 1000000

    def alarms(self, name, steps):
        """What is told in each step: of its milliseconds, and the severities by number."""
        told = []
        raised = lambda numbers: {0x100 + 8 * i: numbers.get(i, 0) for i in range(8)}
        results = self.build("alarms.c").run(
            Memory(), {("symbol", "raised", ""): DIRECT + 0x100}, name=name,
            steps=[(ms * self.MS, raised(numbers)) for ms, numbers in steps])
        for result in results:
            self.assertEqual((result.stop, result.faults, result.out_lost), (STOP_NONE, 0, 0))
            self.assertLessEqual({r[0] for r in result.records}, {4})
            told.append([(r[1], r[2], r[3], r[4] / self.MS, *r[5:]) for r in result.records])
        return told

    def test_open_changed_closed(self):
        w, c = self.WARNING, self.CRITICAL
        self.assertEqual(self.alarms("quick", [
            (1000, {}), (1010, {3: w}), (1020, {3: w, 5: c}), (1030, {3: c, 5: c}), (1040, {3: w}),
            (1050, {}), (1060, {3: c})]), [
                [], [(w, self.OPEN, 3, 0, 3, 6)], [(c, self.OPEN, 5, 0, 5, 10)],
                [(c, self.CHANGED, 3, 20, 3, 6)],
                [(w, self.CHANGED, 3, 30, 3, 6), (c, self.CLOSED, 5, 10)],
                [(w, self.CLOSED, 3, 30)], [(c, self.OPEN, 3, 0, 3, 6)]])

    def test_rise(self):
        # The first step counts for nothing: nobody knows yet how long they are.
        w = {1: self.WARNING}
        self.assertEqual(self.alarms("slow", [
            (1000, {}), (1050, {}), (1100, w), (1150, w), (1200, w), (1250, {}), (1300, w)]),
            [[], [], [], [], [(self.WARNING, self.OPEN, 1, 100, 1, 2)], [], []])
        # What does not hold for so long is never told.
        self.assertEqual(self.alarms("slow", [(50 * i, w if i % 2 else {}) for i in range(20, 40)]),
                         [[]] * 20)

    def test_fall(self):
        w, c = {1: self.WARNING}, {1: self.CRITICAL}
        steps = [(1000 + 50 * i, c) for i in range(6)]
        start = [[]] * 3 + [[(self.CRITICAL, self.OPEN, 1, 150, 1, 2)]] + [[]] * 2
        # Gone for less than 200 ms, then for good.
        self.assertEqual(
            self.alarms("slow", [*steps, (1300, {}), (1350, {}), (1400, {}), (1450, c),
                                 *((1500 + 50 * i, {}) for i in range(6))]),
            start + [[]] * 8 + [[(self.CRITICAL, self.CLOSED, 1, 450)], []])
        # Less severe is told as late as an end, more severe at once.
        self.assertEqual(
            self.alarms("slow", [*steps, *((1300 + 50 * i, w) for i in range(6)), (1600, c)]),
            start + [[]] * 4 + [[(self.WARNING, self.CHANGED, 1, 500, 1, 2)], [],
                                [(self.CRITICAL, self.CHANGED, 1, 600, 1, 2)]])

    def test_gaps_count_for_little(self):
        w = {1: self.WARNING}
        # A thousand seconds in which nothing ran: neither of the two waits is over by that alone.
        self.assertEqual(self.alarms("slow", [(1000, {}), (1010, {}), (1020, w), (1001000, w), (1001010, w)]),
                         [[]] * 5)
        steps = [(1000 + 20 * i, w) for i in range(10)]
        told = self.alarms("slow", [*steps, (1200, {}), (1001000, {}), (1001020, {}), (1001040, w)])
        self.assertEqual([t for t in told if t], [[(self.WARNING, self.OPEN, 1, 120, 1, 2)]])
        # Neither is a clock that goes back.
        told = self.alarms("slow", [*steps, (1200, {}), (5, {}), (25, {}), (45, w)])
        self.assertEqual([t for t in told if t], [[(self.WARNING, self.OPEN, 1, 120, 1, 2)]])

    def test_more_than_there_is_room_for(self):
        overflow = 2**64 - 1
        all_of = {i: self.WARNING for i in range(7)}
        told = self.alarms("quick", [
            (1000, all_of), (1010, all_of), (1020, {**all_of, 6: self.ERROR}),
            (1030, {i: self.WARNING for i in range(2, 6)}), (1040, {})])
        self.assertEqual(told[0], [*((self.WARNING, self.OPEN, i, 0, i, 2 * i) for i in range(4)),
                                   (self.WARNING, self.OPEN, overflow, 0, 4, 3)])
        self.assertEqual(told[1], [])
        self.assertEqual(told[2], [(self.ERROR, self.CHANGED, overflow, 20, 4, 3)])
        # Room comes with the end of a run.
        self.assertEqual(told[3], [*((self.WARNING, self.CLOSED, i, 20) for i in range(2)),
                                   (self.WARNING, self.CHANGED, overflow, 30, 4, 2)])
        self.assertEqual(told[4], [*((self.WARNING, self.CLOSED, i, 30) for i in (2, 3)),
                                   (self.WARNING, self.CLOSED, overflow, 30)])

    def test_what_lasts_already(self):
        told = self.alarms("lasting", [(1000, {0: 5000}), (1010, {0: 5000}), (1020, {})])
        self.assertEqual(told, [[(self.ERROR, self.OPEN, 0xffffffff81000000, 5)], [],
                                [(self.ERROR, self.CLOSED, 0xffffffff81000000, 15)]])

    def test_first_of_two_counts_and_early_ends_close_nothing(self):
        told = self.alarms("careless", [(1000, {1: 1}), (1010, {}), (1020, {1: 1})])
        self.assertEqual(told, [[(self.WARNING, self.OPEN, 0, 0)], [], []])

    def test_names_of_tables_are_part_of_the_formats(self):
        formats = {f["format"] for f in self.build("alarms.c").manifest.formats}
        self.assertLessEqual({"quick: number %d%%: twice=%llu", "slow: ", "lasting: nothing else"}, formats)


class Params(Case):
    raised = {("symbol", "raised", ""): DIRECT + 0x100}

    def test_in_the_manifest(self):
        params = [s for s in self.build("alarms.c").manifest.slots if s["kind"] == "param"]
        self.assertEqual([(p["name"], p["path"], p["value"]) for p in params],
                         [("limit", "what is too much", 10), ("unused", "what nobody reads", 1 << 32)])
        self.assertEqual(params[0]["site"]["line"], 4)

    def test_values(self):
        memory = Memory()
        memory.put(0x100, "Q", 11)
        detector = self.build("alarms.c")
        self.assertEqual(detector.run(memory, self.raised, name="params").rows, [(10, 5), ()])
        self.assertEqual(detector.run(memory, {**self.raised, ("param", "limit", "what is too much"): 21},
                                      name="params").rows, [(21, 10)])

    def test_a_run_loads_them_once_and_the_next_one_again(self):
        ir = self.out("ir")
        self.detector('PARAM(limit, 10, "what is too much");\nDETECTOR(test)\n{\n\tfor (int i = 0; i < 3; i++)\n'
                      '\t\trow("%llu", limit + i);\n}\n', args=("--keep-ir", ir))
        for machine in "nvptx64", "x86_64":
            with open(os.path.join(ir, f"10-final.{machine}.ll")) as f:
                text = re.search(r"^define [^\n]*@gs_body_test\(.*?^}", f.read(), re.M | re.S)[0]
            loads = re.findall(r"= load volatile i64, ptr %\w+, align 8[^\n]*", text)
            self.assertEqual(len(loads), 1, text)
            self.assertNotIn("invariant", loads[0])


class Types(Case):
    def run_types(self, name, memory, **slots):
        given = {("symbol", "nodes", ""): DIRECT + 0x100, ("symbol", "linux_banner", ""): DIRECT + 0x800}
        given.update(slots.get("slots", {}))
        return self.build("types.c").run(memory, given, name=name)

    def test_kinds_of_loads(self):
        memory = Memory()
        memory.put(0x100, "ifd", 0x030201, 1.5, 2.25)
        memory.put(0x100 + 16 + 16, "QQ", 1, 2)
        memory.put(0x100 + 48, "QQ", 0x1111, 0x2222)
        memory.text(0x800, "Linux")
        number, = struct.unpack("<i", struct.pack("<f", 1.5))
        result = self.run_types("types", memory)
        self.assertEqual(result.rows, [(0x030201, number, 1.5, 2.25), (0x1111, 0x2222), (2, 1, 2, 3),
                                       ("Linux", ord("i")), (0x030201,)])

    def test_steps_go_by_the_size_in_the_kernel(self):
        memory = Memory()
        size, zone, zones, count, a = 0x300, 0x40, 0x50, 0x10, 0x20
        for i in range(4):
            memory.put(0x100 + i * size + count, "i", 1)
            memory.put(0x100 + i * size + a, "i", 70 + i)
            for z in range(2):
                memory.put(0x100 + i * size + zones + z * zone, "I", 10 * i + z)
        result = self.run_types("steps", memory, slots={
            ("type-size", "node", ""): size, ("type-size", "zone", ""): zone,
            ("offset", "node", ".usage.counter"): count, ("offset", "node", ".in.a"): a,
            ("offset", "node", ".zones"): zones})
        self.assertEqual(result.rows, [(72, 71), (21, 21), (20, 21)])

    def test_tables_of_strings_by_choice(self):
        for counter, which, rows in ((1, 0, [("one",), ("eins",)]), (2, 1, [("two",), ("two",)]),
                                     (2, 0, [("two",)]), (3, 1, [])):
            memory = Memory()
            memory.put(0x100, "ii", counter, which)
            result = self.run_types("languages", memory)
            self.assertEqual((result.rows, result.stop),
                             (rows, STOP_NONE if len(rows) == 2 else STOP_BOUNDS))


class Programs(Case):
    def test_several_files(self):
        detector = self.build("two_a.c", "two_b.c", args=("-D", "HALVES=2"))
        self.assertEqual([d["name"] for d in detector.manifest.detectors], ["one", "two"])
        memory = Memory()
        memory.put(0x100, "i", 84)
        memory.put(0x100 + 96, "Q", DIRECT + 0x200)
        memory.put(0x200, "i", 6)
        slots = {INIT: DIRECT + 0x100}
        self.assertEqual([r.rows for r in detector.run(memory, slots, name="two", runs=2)],
                         [[(42, 41)], [(42, 42)]])
        self.assertEqual(detector.run(memory, slots, name="one").rows, [(3,)])

    def test_callbacks_and_loops(self):
        detector = self.build("callback.c")
        memory = Memory()
        memory.put(0x100, "i", 1)
        memory.put(0x100 + 96, "Q", DIRECT + 0x200)
        memory.put(0x200, "i", 2)
        slots = {INIT: DIRECT + 0x100}
        self.assertEqual(detector.run(memory, slots, name="callback").rows,
                         [(1, 0), (2, 0), (1, 1), (2, 1)])
        for name in "endless", "irreducible":
            result = detector.run(memory, slots, name=name, budget=1000)
            self.assertEqual((result.stop, result.budget), (STOP_BUDGET, 0), name)

    def test_accesses_in_dead_code_do_not_count(self):
        self.assertEqual(self.build("dead.c").run().rows, [(4, -1)])

    def test_output_is_the_same_each_time(self):
        with open(self.build("local.c").path, "rb") as f:
            first = f.read()
        del self.built[("local.c",)]
        with open(self.build("local.c").path, "rb") as f:
            self.assertEqual(first, f.read())


if __name__ == "__main__":
    unittest.main()
