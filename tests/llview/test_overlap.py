# SPDX-License-Identifier: Apache-2.0
"""Reads that are issued together give what the same reads one by one give, faults included."""
import re
import unittest

from support import ABSENT, DIRECT, STOP_BUDGET, Case, Memory

HEAD = ("symbol", "head", "")
FIELDS = {"a": "Q", "b": "I", "c": "H", "d": "B", "e": "b", "comm": "16s", "f": "f", "g": "d",
          "node": "Q", "other": "Q", "blob": "64s", "state": "q", "name": "13s", "longer": "40s"}
# As the compiler would have it, and as another kernel might.
LOCAL = {"a": 0, "b": 8, "c": 12, "d": 14, "e": 15, "comm": 16, "f": 32, "g": 40, "node": 48,
         "other": 56, "blob": 64, "state": 128, "name": 136, "longer": 149}
MOVED = {"a": 0x4f0, "b": 0x10, "c": 0x7c2, "d": 0x7c1, "e": 0, "comm": 0x7c8, "f": 0x900, "g": 0x8f8,
         "node": 0x3a8, "other": 0x3a0, "blob": 0xa00, "state": 0x20, "name": 0x28, "longer": 0x40}
ODD = {name: 1 + 3 * at for name, at in LOCAL.items()}


def off(path):
    return ("offset", "item", path)


class Overlap(Case):
    def slots(self, layout, head):
        values = {HEAD: DIRECT + head}
        for slot in self.build("overlap.c", args=("--overlap=all",)).manifest.slots:
            name = slot["path"].lstrip(".").split(".")[0]
            if slot["kind"] == "offset" and name in layout:
                values[off(slot["path"])] = layout[name]
        values[off(".old_state")] = layout["state"]
        return values

    def item(self, memory, at, layout, following, **values):
        for name, value in values.items():
            memory.put(at + layout[name], FIELDS[name], value)
        memory.put(at + layout["node"], "Q", following)

    def chain(self, layout, places, last=None, size=0x10000, head=0x100):
        """A list through items at these places, its head before them."""
        memory = Memory(size)
        links = [DIRECT + at + layout["node"] for at in (*places, head)]
        if last is not None:
            links[-1] = last
        memory.put(head + layout["node"], "Q", links[0])
        for i, at in enumerate(places):
            self.item(memory, at, layout, links[i + 1], a=10**15 + i, b=3 + 5 * i, c=7 * i, d=i & 3,
                      e=-i, comm=b"task%d" % i if i % 3 else b"sixteen bytes %02d" % i, f=i / 4,
                      g=-i / 8, other=DIRECT + places[i - 1] if i & 1 else 0,
                      blob=bytes((i + 9 * j) & 255 for j in range(64)), state=100 - i,
                      name=b"name of %d" % i, longer=b"x" * (i * 13 % 41))
        return memory

    def same(self, name, memory, slots, **kwargs):
        """Run it both ways; what came out."""
        results = [self.build("overlap.c", args=("--overlap=" + where,)).run(
            memory, slots, name=name, **kwargs) for where in ("none", "all")]
        for field in "raw", "faults", "fault_address", "stop", "stop_site", "out_lost", "budget":
            one, other = (getattr(result, field) for result in results)
            self.assertEqual(one, other, (name, field))
        return results[1]

    def every(self, memory, slots, **kwargs):
        return {d["name"]: self.same(d["name"], memory, slots, **kwargs)
                for d in self.build("overlap.c", args=("--overlap=all",)).manifest.detectors}

    def test_every_layout(self):
        for layout in LOCAL, MOVED, ODD:
            memory = self.chain(layout, [0x2000, 0x8000, 0x4000, 0x6000, 0xa000, 0xc000])
            results = self.every(memory, self.slots(layout, 0x100))
            self.assertEqual(results["chain"].rows[3], (
                10**15 + 3, 18, 21, 3, -3, "sixteen bytes 03"[:16], 0.75, -0.375, 97))
            self.assertEqual(results["either"].rows[:4],
                             [(3 * 10**15,), (), (10**15 + 8,), (13 * (10**15 + 2),)])
            self.assertEqual(results["strings"].rows[2], ("task2", "name of 2", "nam", "x" * 26))
            for name, result in results.items():
                self.assertEqual(result.faults, 0, name)

    def test_objects_across_a_page(self):
        for layout in LOCAL, MOVED, ODD:
            for back in *range(1, 200, 7), *range(200, 0xb00, 93):
                memory = self.chain(layout, [0x2000, 0x5000 - back, 0x7000])
                self.assertEqual(self.same("chain", memory, self.slots(layout, 0x100)).faults, 0)
                self.same("strings", memory, self.slots(layout, 0x100))

    def test_objects_across_the_end_of_memory(self):
        for layout in LOCAL, MOVED:
            room = max(layout[n] + 64 for n in layout)
            for back in range(room & ~1, 1, -max(room // 20, 2) | 1):
                at = 0x10000 - back
                memory = self.chain(layout, [0x2000], last=DIRECT + at + layout["node"])
                memory.data[at:] = bytes((3 + 7 * i) & 255 for i in range(back))
                if layout["node"] + 8 <= back:
                    memory.put(at + layout["node"], "Q", DIRECT + 0x100 + layout["node"])
                results = self.every(memory, self.slots(layout, 0x100), budget=20)
                self.assertGreaterEqual(results["chain"].faults, 0)
            self.assertGreater(results["chain"].faults, 0)

    def test_pointers_to_nowhere(self):
        for last in 8, 0xdead000000000100, DIRECT - 64, DIRECT + 0xfff8, 0x7fff12345678, 2**64 - 8, \
                0xffffc90000000000, 0xffffffff81000000:
            memory = self.chain(LOCAL, [0x2000, 0x3000], last=last)
            result = self.same("chain", memory, self.slots(LOCAL, 0x100), budget=6)
            self.assertGreater(result.faults, 0, hex(last))
            self.every(memory, self.slots(LOCAL, 0x100), budget=6)

    def test_object_that_is_not_there_counts_nothing(self):
        memory = self.chain(LOCAL, [0x2000, 0x3000, 0x4000])
        result = self.same("guarded", memory, self.slots(LOCAL, 0x100))
        self.assertEqual((result.rows, result.faults),
                         ([(10**15, 3), ("task1", 10**15 + 1)], 0))
        memory.put(0x2000 + LOCAL["other"], "Q", DIRECT + 0x20000)
        result = self.same("guarded", memory, self.slots(LOCAL, 0x100))
        self.assertEqual((result.rows[0], result.faults), ((0, 0), 2))

    def test_absent_fields_count_only_where_they_are_read(self):
        memory = self.chain(LOCAL, [0x2000, 0x3000])
        slots = self.slots(LOCAL, 0x100)
        slots |= {off(".state"): ABSENT, ("exists", "item", ".state"): 0}
        result = self.same("chain", memory, slots)
        self.assertEqual(([r[-1] for r in result.rows], result.faults), ([100, 99], 0))
        slots[off(".old_state")] = ABSENT
        result = self.same("chain", memory, slots)
        self.assertEqual(([r[-1] for r in result.rows], result.faults), ([0, 0], 2))

    def test_copies_and_strings_at_every_alignment(self):
        for shift in range(9):
            layout = LOCAL | {"blob": 512 + shift, "name": 700 + shift, "longer": 720 - shift,
                              "comm": 800 + shift}
            memory = self.chain(layout, [0x2000, 0x3000, 0x4000])
            slots = self.slots(layout, 0x100)
            for name in "copies", "more_copies", "large_copy":
                result = self.same(name, memory, slots)
                self.assertEqual(result.faults, 0)
            blob = bytes(9 * j & 255 for j in range(64))
            expected = 0
            for i in range(64):
                expected = (expected * 31 + blob[(i + 3) & 63]) % 2**64
            self.assertEqual(result.rows[0], (64, expected))
            self.same("strings", memory, slots)

    def test_strings_that_do_not_fit(self):
        memory = self.chain(LOCAL, [0x2000, 0x3000, 0x4000, 0x5000])
        for size in range(32, 600, 24):
            self.same("strings", memory, self.slots(LOCAL, 0x100), out_size=size)

    def test_cyclic_list_ends_by_budget(self):
        memory = self.chain(LOCAL, [0x2000, 0x3000, 0x4000], last=DIRECT + 0x3000 + LOCAL["node"])
        for result in self.every(memory, self.slots(LOCAL, 0x100), budget=50).values():
            self.assertEqual(result.faults, 0)
        self.assertEqual(self.same("chain", memory, self.slots(LOCAL, 0x100), budget=50).stop,
                         STOP_BUDGET)


class Shape(Case):
    """What the code looks like."""

    def setUp(self):
        keep = self.out("ir")
        self.build("overlap.c", args=("--overlap=all", "--keep-ir=" + keep))
        with open(keep + "/8-loads.ll") as f:
            self.ir = f.read()
        with open(keep + "/detector.ptx") as f:
            self.ptx = f.read()

    def calls(self, name):
        """The runtime's functions that a detector calls, in order."""
        body = self.ir.split(f"@gs_run_{name}(")[1].split("\n}\n")[0]
        return re.findall(r"call [^@]*@gs_rt_(\w+)\(", body)

    def test_one_round_of_reads_for_each_object(self):
        calls = self.calls("chain")
        self.assertEqual(calls.count("window"), 1)
        # Nine values and the link; the state has two places, and comm three words, two of which go together.
        reads = [c for c in calls if c.startswith("read")]
        self.assertEqual(len(reads), 12)
        self.assertEqual(reads.count("read_pair"), 2)
        first = calls.index(reads[0])
        self.assertEqual(calls[first:first + 12], reads)
        # That of the list's head.
        self.assertEqual([c for c in calls if c.startswith("load")], ["load64"])

    def test_no_use_between_the_reads(self):
        body = self.ptx.split(".func gs_body_chain(")[-1].split("\n}\n")[0]
        loaded, used, rounds = set(), set(), 0
        for line in body.splitlines():
            read = re.search(r"ld\.relaxed\.sys\.global\.[\w.]+ (.*), \[(%\w+)", line)
            if read:
                self.assertNotIn(read[2], loaded)
                rounds += not loaded
                loaded |= set(re.findall(r"%\w+", read[1]))
            elif "mov.u" in line and loaded:
                continue
            elif len(loaded) < 14:
                used |= loaded & set(re.findall(r"%\w+", line))
        # Both halves of two pairs, and ten more.
        self.assertEqual((len(loaded), used, rounds), (14, set(), 1))

    def test_second_load_of_a_field_stays(self):
        calls = self.calls("twice")
        self.assertIn("load32", calls[calls.index("window"):])

    def test_nothing_passes_a_read_once(self):
        order = [c for c in self.calls("ordered") if c.startswith(("read", "once"))]
        once = [i for i, c in enumerate(order) if c.startswith("once")]
        self.assertEqual(len(once), 2)
        self.assertGreaterEqual(once[1] - once[0] - 1, 4)

    def test_nothing_passes_an_atomic(self):
        body = self.ir.split("@gs_run_atomics(")[1].split("\n}\n")[0]
        before, after = body.split("atomicrmw")
        self.assertEqual(len(re.findall("call i.. @gs_rt_read(?:64|32)", before)), 2)
        self.assertEqual(len(re.findall("call i.. @gs_rt_read(?:8|16)", before)), 0)

    def test_alternatives_share_a_read(self):
        self.assertEqual(self.calls("either").count("again64"), 3)
        self.assertEqual(self.calls("either").count("read64"), 2)


if __name__ == "__main__":
    unittest.main()
