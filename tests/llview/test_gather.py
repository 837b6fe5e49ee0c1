# SPDX-License-Identifier: Apache-2.0
"""A tree is read whole, in order, whatever is in it, by any number of threads."""
import unittest

from support import DIRECT, STOP_NONE, Case, Memory

# struct xa_node and struct xarray as the detector declares them.
SHIFT, SLOTS, NODE, HEAD = 0, 8, 8 + 64 * 8, 0x100
RETRY = 256 << 2 | 2
SIBLING = 3 << 2 | 2


class Tree:
    """Nodes one behind the other."""

    def __init__(self, nodes=16):
        self.memory = Memory((0x1000 + nodes * NODE + 0xfff) // 0x1000 * 0x1000)
        self.next = 0x1000

    def head(self, entry):
        self.memory.put(HEAD, "Q", entry)

    def node(self, shift, slots=None):
        at = self.next
        self.next += NODE
        self.memory.put(at + SHIFT, "B", shift)
        self.put(DIRECT + at + 2, slots or {})
        return DIRECT + at + 2

    def put(self, node, slots):
        for slot, entry in slots.items():
            self.memory.put(node - 2 - DIRECT + SLOTS + 8 * slot, "Q", entry)


def entries(*numbers):
    """Entries by slot."""
    return {number: DIRECT + 8 * (number + 1) for number in numbers}


class Gather(Case):
    def gather(self, tree, threads=1, name="gather", **kwargs):
        slots = {("symbol", "tree", ""): DIRECT + HEAD, ("symbol", "numbers", ""): DIRECT + HEAD}
        return self.build("gather.c").run(tree.memory, slots, name=name, threads=threads, **kwargs)

    def walk(self, tree):
        return self.gather(tree, name="walk")

    def find(self, tree):
        """Each below 8 * 4096 by its number."""
        return self.gather(tree, name="find")

    def check(self, tree, expected, bad=0, threads=(1, 3)):
        """The same for any number of threads, and never a second time what was there in the run before."""
        for count in threads:
            result = self.gather(tree, count, runs=2)[1]
            self.assertEqual(result.rows, expected, f"{count} threads")
            self.assertEqual([r[2] for r in result.records if r[0] == 3], [bad])
            self.assertEqual((result.stop, result.faults), (STOP_NONE, 0))

    def test_nothing(self):
        tree = Tree()
        self.check(tree, [])
        self.assertEqual(self.find(tree).rows, [])
        tree.head(tree.node(0))
        self.check(tree, [])
        self.assertEqual(self.find(tree).rows, [])

    def test_one_entry_without_a_node(self):
        tree = Tree()
        tree.head(DIRECT + 0x80)
        self.check(tree, [(0, DIRECT + 0x80)])
        self.assertEqual(self.find(tree).rows, [(0, DIRECT + 0x80)])

    def test_entries_in_ascending_order(self):
        tree = Tree()
        first, second = tree.node(0, entries(1, 2, 63)), tree.node(0, entries(0, 17))
        third = tree.node(0, entries(5))
        tree.head(tree.node(12, {0: tree.node(6, {0: second, 9: first}), 7: tree.node(6, {63: third})}))
        expected = [(0, DIRECT + 8), (17, DIRECT + 8 * 18)] + [
            (9 * 64 + slot, entry) for slot, entry in entries(1, 2, 63).items()] + [
            (7 * 4096 + 63 * 64 + 5, DIRECT + 8 * 6)]
        self.check(tree, expected)
        self.assertEqual(self.walk(tree).rows, expected)
        self.assertEqual(self.find(tree).rows, expected)

    def test_all_slots(self):
        tree = Tree()
        leaves = [tree.node(0, entries(*range(64))) for _ in range(5)]
        tree.head(tree.node(6, dict(zip((0, 1, 2, 3, 63), leaves))))
        self.check(tree, [(64 * at + slot, entry) for at in (0, 1, 2, 3, 63)
                          for slot, entry in entries(*range(64)).items()], threads=(1, 3, 33))

    def test_what_the_tree_keeps_for_itself_is_no_entry(self):
        tree = Tree()
        leaf = tree.node(0, {0: RETRY, 1: SIBLING, 2: DIRECT + 0x80, 3: 7})
        tree.head(tree.node(6, {0: leaf, 1: RETRY, 2: SIBLING, 3: DIRECT + 0x80}))
        self.check(tree, [(2, DIRECT + 0x80), (3, 7)])
        self.assertEqual(self.find(tree).rows[:2], [(2, DIRECT + 0x80), (3, 7)])

    def test_node_among_the_entries_is_none(self):
        tree = Tree()
        other = tree.node(0, entries(1))
        tree.head(tree.node(0, {4: other, **entries(5)}))
        self.check(tree, [(5, DIRECT + 48)])

    def test_loops_end(self):
        tree = Tree()
        leaf = tree.node(0, entries(1))
        top = tree.node(12)
        middle = tree.node(6, {0: leaf})
        tree.put(top, {0: middle, 1: top})
        tree.put(middle, {1: middle, 2: top})
        tree.head(top)
        self.assertEqual(self.find(tree).rows, [(1, DIRECT + 16)])
        # The top within itself and in the middle, the middle within itself.
        self.check(tree, [(1, DIRECT + 16)], bad=3)

    def test_wrong_levels(self):
        for shift in (1, 5, 7, 64, 255):
            tree = Tree()
            tree.head(tree.node(shift, entries(1)))
            self.check(tree, [], bad=1)
        tree = Tree()
        tree.head(tree.node(12, {0: tree.node(0, entries(1)), 1: tree.node(12), 2: tree.node(6, {})}))
        self.check(tree, [], bad=2)

    def test_node_that_cannot_be_read(self):
        tree = Tree()
        tree.head(tree.node(6, {0: DIRECT + (1 << 30) + 2, 1: tree.node(0, entries(1))}))
        for threads in (1, 3):
            result = self.gather(tree, threads)
            self.assertEqual(result.rows, [(65, DIRECT + 16)])
            self.assertGreater(result.faults, 0)

    def test_more_nodes_than_are_read_at_a_time(self):
        leaves = 4096 + 10
        tree = Tree(leaves + 70)
        nodes = [tree.node(0, entries(at % 64)) for at in range(leaves)]
        middle = [tree.node(6, dict(enumerate(nodes[at:at + 64]))) for at in range(0, leaves, 64)]
        top = [tree.node(12, dict(enumerate(middle[at:at + 64]))) for at in range(0, len(middle), 64)]
        tree.head(tree.node(18, dict(enumerate(top))))
        expected = [(64 * at + at % 64, DIRECT + 8 * (at % 64 + 1)) for at in range(leaves)]
        for threads in (1, 4):
            result = self.gather(tree, threads, budget=10 ** 7)
            self.assertEqual(result.rows, expected)

    def test_a_tree_of_nodes_that_share_all_below_them_is_cut(self):
        tree = Tree()
        node = tree.node(0, entries(*range(64)))
        for shift in (6, 12, 18, 24):
            node = tree.node(shift, {slot: node for slot in range(64)})
        tree.head(node)
        result = self.gather(tree, budget=10 ** 8, out_size=1 << 16)
        self.assertEqual(result.stop, STOP_NONE)
        self.assertGreater(result.out_lost, 0)


if __name__ == "__main__":
    unittest.main()
