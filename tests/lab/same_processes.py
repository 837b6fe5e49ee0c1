# SPDX-License-Identifier: Apache-2.0
"""same_processes.py THEIRS OURS: what drgn_ps.py and `ps --json` printed of the same memory agrees in all that both have."""
import json
import sys

theirs, ours = ({task["pid"]: task for task in json.load(open(path))} for path in sys.argv[1:])
assert len(ours) > 40, len(ours)
assert theirs.keys() == ours.keys(), theirs.keys() ^ ours.keys()
for pid, task in theirs.items():
    # What /proc adds to the comm of kernel threads is not in the task.
    comm = task.pop("comm")
    assert ours[pid]["kthread"] or ours[pid]["comm"] == comm, (comm, ours[pid])
    for name, value in task.items():
        assert ours[pid][name] == value, (name, value, ours[pid])
print(len(ours), "processes agree")
