# SPDX-License-Identifier: Apache-2.0
"""Tables of what bench/detection has measured."""

import re
import statistics

from detection_faults import KINDS

HEAD = """<!-- Generated: bench/detection --report FILE.json... >docs/detection.md -->
# How soon faults are found

Each fault of the [lab](lab.md) is really injected into a guest, and the detectors watch it from outside, on the CPU engine. One
cell is one fault on one kernel: from the moment at which the fault begins to the finding, the median of the rounds; then, in
brackets, until the guest's own kernel says something of it in its log. Limits of detectors that are measured in time are set to
{limit_ms} ms, and all others are the defaults. `bench/detection --help` says how times are taken.

{runs}
"""

LEGEND = """
"never": the kernel has nothing that says so, or none that works in this guest (an emulated CPU has no counters for the
detector of hard lockups). "configured": not waited for; the limit that the guest has. "the guest": whether it answers a
command while it has the fault, and what it says by itself. "silent" is a guest in whose log there is no word of it by the time
of the finding, though who looks into its /proc may see something; "deceived" one whose own tools deny what is there.
"""


def own(row):
    if row["own_seconds"]:
        return f"{statistics.median(row['own_seconds']):.2f} s"
    configured = row["configured"]
    if configured.isdigit():
        return f"{configured} s configured"
    return configured


def found(row):
    if row["detected"]:
        return f"{row['median']:.2f} s"
    if row["seconds"]:
        return f"{len(row['seconds'])}x, then not: " + row["why"].splitlines()[-1][:120]
    return "not detected: " + row["why"].splitlines()[-1][:120]


def line(row):
    spread = f"{min(row['seconds']):.2f} to {max(row['seconds']):.2f}, {len(row['seconds'])}x" if row["seconds"] else ""
    return (f"{row['fault']:31} {row['detector'] or '-':10} {found(row):>8} {spread:18} {own(row):>19}  "
            f"{row.get('guest', '')}")


def table(one):
    rows = one["rows"]
    lines = [f"Linux {one['release']}",
             f"{'fault':31} {'detector':10} {'found in':>8} {'spread':18} {'kernel itself':>19}  the guest"]
    lines += [line(row) for row in rows]
    lines.append(f"{sum(row['detected'] for row in rows)} of {len(rows)} are found")
    return "\n".join(lines)


def cell(row):
    if not row:
        return "not measured"
    text = found(row)
    return f"**{text}**" if not row["detected"] else f"{text} ({own(row)})"


def of_kind(kind, kernels):
    """Rows of all kernels, in the order of KINDS."""
    faults = {}
    for one in kernels:
        for row in one["rows"]:
            if row["kind"] == kind:
                faults.setdefault(row["fault"], {})[one["kernel"]] = row
    if not faults:
        return ""
    order = [fault.name for _, some in KINDS for fault in some]
    names = [one["kernel"] for one in kernels]
    lines = [f"\n## {kind.capitalize()}\n", f"| fault | detector | {' | '.join(names)} | the guest |",
             "| --- | --- |" + " --- |" * (len(names) + 1)]
    for fault, rows in sorted(faults.items(), key=lambda item: order.index(item[0])):
        first = next(iter(rows.values()))
        cells = " | ".join(cell(rows.get(name)) for name in names)
        lines.append(f"| `{fault}` | {first['detector'] or '-'} | {cells} | {first.get('guest', '')} |")
    return "\n".join(lines) + "\n"


def merged(runs):
    """The kernels of all runs. Of a fault that was measured again, what a later run has."""
    kernels = {}
    for one in [one for run in runs for one in run["kernels"]]:
        known = kernels.setdefault(one["kernel"], {**one, "rows": []})
        for row in one["rows"]:
            places = [i for i, other in enumerate(known["rows"]) if other["fault"] == row["fault"]]
            if places:
                known["rows"][places[0]] = row
            else:
                known["rows"].append(row)
    return list(kernels.values())


def missed_first(runs):
    """Faults that an earlier run did not find, and a later one measured again."""
    seen = {}
    names = []
    for one in [one for run in runs for one in run["kernels"]]:
        for row in one["rows"]:
            before = seen.get((one["kernel"], row["fault"]))
            if before and not before["detected"]:
                names.append(f"`{row['fault']}` on {one['kernel']}")
            seen[one["kernel"], row["fault"]] = row
    if not names:
        return ""
    return ("\n\nRuns are in order; of a fault that was measured again, with newer detectors or less beside it, the later run counts. Not found before "
            f"that: {', '.join(names)}.")


def command(run):
    """As it was given, but for a list of faults that nobody would read."""
    measured = len(run["kernels"][0]["rows"])
    if measured <= 12:
        return f"`{run['command']}`"
    return f"`{re.match(r'bench/detection( --[a-z]+( [0-9.]+)?)*', run['command'])[0]} ...`, {measured} faults"


def markdown(runs, note):
    kernels = merged(runs)
    described = "\n".join(
        f"- {', '.join(one['kernel'] for one in run['kernels'])}: {command(run)}, {run['rounds']} "
        f"round{'s' if run['rounds'] > 1 else ''}, {run['date']}; {run['machine']}" for run in runs)
    text = HEAD.format(limit_ms=runs[0]["limit_ms"], runs=described + (f"\n\n{note}" if note else "") + missed_first(runs))
    text += "".join(of_kind(kind, kernels) for kind in ("failures", "performance", "attacks"))
    for one in kernels:
        missed = [row["fault"] for row in one["rows"] if not row["detected"]]
        text += f"\nLinux {one['release']}: {len(one['rows']) - len(missed)} of {len(one['rows'])} are found"
        text += f"; not {', '.join(missed)}.\n" if missed else ".\n"
    return text + LEGEND
