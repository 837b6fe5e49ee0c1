# SPDX-License-Identifier: Apache-2.0
"""drgn_ps.py VMCORE VMLINUX: the processes as drgn sees them, as JSON like `gpusentinel ps --json`."""
import json
import sys

import drgn
from drgn.helpers.linux.pid import for_each_task

program = drgn.Program()
program.set_core_dump(sys.argv[1])
program.load_debug_info([sys.argv[2]])
tasks = []
for task in for_each_task(program):
    if task.pid.value_() != task.tgid.value_():
        continue
    tasks.append({
        "pid": task.pid.value_(),
        "tgid": task.tgid.value_(),
        "ppid": task.real_parent.tgid.value_(),
        "uid": task.real_cred.uid.val.value_(),
        "threads": task.signal.nr_threads.value_(),
        "start_ns": task.start_boottime.value_(),
        "comm": task.comm.string_().decode(errors="replace"),
    })
json.dump(tasks, sys.stdout)
