# SPDX-License-Identifier: Apache-2.0
"""Tables and a plot of what bench/rdma has measured."""
import math

LIMITS = {"heartbeat": 1.3, "1 MiB": 0.85, "4 MiB": 0.9, "grass read": 0.9}

PAGE = """<!-- Generated: bench/rdma --report -->
# GRASS over RDMA, measured

Two guests on soft-RoCE (docs/lab.md), each with one emulated CPU: absolute times say nothing about a NIC, the ratios to
perftest in the same run are what counts. `bench/rdma --help` says what each figure is. Commit {commit}, {date}, median of
{rounds}; it took {seconds} s.

    bench/rdma --report

![Time of one read by its size]({plot})

```
{tables}
```
"""


def readable(size):
    for unit, shift in ("MiB", 20), ("KiB", 10):
        if size >= 1 << shift:
            return f"{size >> shift} {unit}"
    return f"{size} B"


def latency(times):
    lines = ["8 bytes            link us   perftest us   ratio"]
    for least in "", "least_":
        reads, writes = times[least + "ib_read_lat_us"], times[least + "ib_write_lat_us"]
        for name, ours, theirs in ("read", "read", reads), ("heartbeat", "write_read", reads + writes):
            limit = f"   at most {LIMITS['heartbeat']}" if name == "heartbeat" and not least else ""
            lines.append(f"{(least[:-1] + ' ' + name).strip():15} {times[least + ours + '_us']:10.1f} {theirs:13.1f} "
                         f"{times[least + name + '_ratio']:7.2f}{limit}")
    return lines


def read_times(rows):
    lines = ["one read    link us   ib_read_lat us   ratio      MiB/s"]
    for row in rows:
        theirs = f"{row['ib_read_lat_us']:16.1f} {row['ratio']:7.2f}" if "ratio" in row else f"{'-':>16} {'-':>7}"
        lines.append(f"{readable(row['size']):8} {row['us']:10.1f} {theirs} {row['mib_s']:10.3f}")
    return lines


def bandwidth(rows):
    lines = ["MiB/s    ib_read_bw   together   ratio      alone   ratio"]
    for row in rows:
        limit = LIMITS.get(readable(row["size"]))
        lines.append(f"{readable(row['size']):8} {row['ib_read_bw']:10.3f} {row['together']:10.3f} {row['ratio']:7.2f} "
                     f"{row['one_at_a_time']:10.3f} {row['alone_ratio']:7.2f}" + (f"   at least {limit}" if limit else ""))
    return lines


def programs(row):
    return [f"grass ping   {row['ping_us']:.0f} us, least {row['least_ping_us']:.0f} us: request, its turn on an emulated CPU, answer",
            f"grass read   {row['read_mib']:.0f} MiB, {row['filled'] * 100:.0f} % of them data, at {row['read']:.3f} MiB/s, "
            f"ib_read_bw of 4 MiB {row['ib_read_bw']:.3f}: ratio {row['read_ratio']:.2f}   at least {LIMITS['grass read']}",
            f"grass dump   {row['dump_mib']:.0f} MiB of data at {row['dump']:.3f} MiB/s: ratio {row['dump_ratio']:.2f}, of which the "
            "file is a part"]


def tables(result):
    parts = latency(result["latency"]), read_times(result["time"]), bandwidth(result["bandwidth"]), programs(result["grass"])
    return "\n\n".join("\n".join(part) for part in parts)


def page(result):
    return PAGE.format(tables=tables(result), plot="grass-results.svg", **{
        key: result[key] for key in ("commit", "date", "rounds", "seconds")})


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 440, 80, 20, 40, 60
SERIES = ("us", "a link of GRASS", "#1f6feb"), ("ib_read_lat_us", "ib_read_lat", "#d1570a")


def duration(us):
    return f"{us / 1e6:g} s" if us >= 1e6 else f"{us / 1e3:g} ms" if us >= 1e3 else f"{us:g} us"


def plot(rows):
    """An SVG: time of one read by its size, both logarithmic."""
    times = [row[key] for row in rows for key, _, _ in SERIES if key in row]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    first, last = (math.log2(rows[end]["size"]) for end in (0, -1))

    def x(size):
        return LEFT + (math.log2(size) - first) / max(last - first, 1) * (WIDTH - LEFT - RIGHT)

    def y(us):
        return HEIGHT - BOTTOM - (math.log10(us) - low) / max(high - low, 1) * (HEIGHT - TOP - BOTTOM)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="22">Time of one read by its size (soft-RoCE between two guests)</text>']
    for power in range(low, high + 1):
        at = y(10 ** power)
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{duration(10 ** power)}</text>')
    for row in rows:
        at = x(row["size"])
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eee"/>')
        out.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{readable(row["size"])}</text>')
    for number, (key, name, colour) in enumerate(SERIES):
        points = [(x(row["size"]), y(row[key])) for row in rows if key in row]
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="'
                   + " ".join(f"{px:.1f},{py:.1f}" for px, py in points) + '"/>')
        out += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{colour}"/>' for px, py in points]
        out.append(f'<text x="{LEFT + 14}" y="{TOP + 22 + 20 * number}" fill="{colour}">{name}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"
