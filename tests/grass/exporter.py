#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A guest is watched by `grass exporter`, that by Prometheus, and its panic becomes an alert in Alertmanager.

    exporter.py KERNEL --gpusentinel PATH --grass PATH --packaging DIRECTORY

Prometheus and Alertmanager are Debian's. What is in packaging/ is checked with them, too.
"""

import argparse
import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lab"))
from watched import PATIENCE, Failed, Guest, command  # noqa: E402 pylint: disable=wrong-import-position

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def check(condition, message):
    if not condition:
        raise Failed(message)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url, accept="*/*", method="GET"):
    """Status, type and text."""
    request = urllib.request.Request(url, headers={"Accept": accept}, method=method)
    try:
        with OPENER.open(request, timeout=20) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def wait_for(what, question):
    """Until the question has an answer."""
    deadline, last = time.monotonic() + PATIENCE, None
    while time.monotonic() < deadline:
        try:
            last = question()
            if last:
                return last
        except (OSError, ValueError) as error:
            last = error
        time.sleep(0.2)
    raise Failed(f"{what} does not come: {last}")


class Process:
    """One whose standard error is kept, line by line."""

    def __init__(self, *words):
        self.process = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, text=True)
        self.lines = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stderr:
            self.lines.append(line)

    def expect(self, pattern):
        def look():
            if self.process.poll() is not None:
                raise Failed(f"{self.process.args[:2]} has ended: {self.lines[-3:]}")
            return next((found for found in (re.search(pattern, line) for line in list(self.lines)) if found), None)
        return wait_for(f"'{pattern}'", look)

    def count(self, pattern):
        return sum(bool(re.search(pattern, line)) for line in self.lines)

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


class Test:
    def __init__(self, args, directory):
        self.directory, self.packaging = pathlib.Path(directory), pathlib.Path(args.packaging)
        self.args, self.processes = args, []
        self.guest = None

    def start(self, *words):
        self.processes.append(Process(*words))
        return self.processes[-1]

    def end(self):
        for process in reversed(self.processes):
            try:
                process.end()
            except subprocess.TimeoutExpired:
                process.process.kill()
        if self.guest:
            self.guest.stop()


def packaging(test):
    prometheus = test.packaging / "prometheus"
    command("promtool", "check", "rules", prometheus / "gpusentinel.rules.yml")
    for config in ("prometheus.yml", "federation.yml"):
        command("promtool", "check", "config", prometheus / config)
    dashboard = json.loads((test.packaging / "grafana" / "gpusentinel.json").read_text())
    test.panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = (prometheus / "gpusentinel.rules.yml").read_text() + " ".join(test.panels)
    # A label has that name, too.
    return set(re.findall(r"\b(grass_\w+)\b", re.sub(r"\{[^}]*\}", "", asked)))


def watch(test):
    keys = test.directory / "keys"
    for words in (["ca"], ["host", "web1"], ["monitor", "room"]):
        command(test.args.grass, "keys", keys, *words)
    test.guest = Guest("exporter", test.args.kernel, "--procs", "10")
    test.serve = test.start(test.args.gpusentinel, "-t", f"qemu:{test.guest.name}", "-e", "cpu", "serve", "--keys", keys, "--name",
                            "web1", "--listen", "127.0.0.1:0", "--fabric", "shm", "--quiet", "panic", "files", "log", "memory")
    port = test.serve.expect(r"let in at port (\d+)").group(1)
    test.alerts = f"http://127.0.0.1:{free_port()}"
    test.exporter = test.start(test.args.grass, "exporter", f"web1@127.0.0.1:{port}", "nobody@127.0.0.1:1", "--keys", keys, "--as",
                               "room", "--fabric", "shm", "--interval", "0.5", "--timeout", "1", "--listen", "127.0.0.1:0",
                               "--alertmanager", test.alerts + "/")
    test.address = "127.0.0.1:" + test.exporter.expect(r"served at port (\d+)").group(1)
    test.url = f"http://{test.address}/metrics"


def families_are_contiguous(text, suffixes):
    """Each line of a sample belongs to the family above it, and no family comes twice."""
    seen, family = set(), None
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            family, kind = line.split()[2:]
            check(family not in seen, f"the family {family} comes twice")
            seen.add(family)
        elif not line.startswith("#"):
            name = re.match(r"[a-z_A-Z0-9]+", line).group(0)
            check(name == family + suffixes.get(kind, ""), f"{line} is not of the family {family}")


def texts(test, names):
    """What is served while the guest is well."""
    wait_for("the host", lambda: 'gpusentinel_files_open_files{host="web1"}' in get(test.url)[2] and
             'grass_verdict{host="nobody",grass_verdict="unreachable"} 1' in get(test.url)[2])
    status, kind, text = get(test.url, OPEN_METRICS + ",text/plain;q=0.5")
    check(status == 200 and kind.startswith(OPEN_METRICS), f"{status} {kind}")
    check(text.endswith("\n# EOF\n") and text.count("# EOF") == 1, "OpenMetrics does not end")
    families_are_contiguous(text, {"counter": "_total", "info": "_info"})
    for wanted in (r'grass_up\{host="web1"\} 1', r'grass_up\{host="nobody"\} 0', r'grass_verdict\{host="web1",grass_verdict="alive"\} 1',
                   r'grass_verdict\{host="web1",grass_verdict="os-dead"\} 0', r'grass_heartbeats_total\{host="web1"\} [1-9]\d*',
                   r'grass_host_info\{host="web1",release="[^"]+",engine="cpu",device="[^"]*",target="qemu:[^"]+"\} 1',
                   r'grass_detector_runs_total\{host="web1",detector="panic"\} [1-9]\d*',
                   r'grass_detector_stops_total\{host="web1",detector="log",reason="budget"\} 0',
                   r'grass_detector_period_seconds\{host="web1",detector="panic"\} 0.00025',
                   r'grass_detector_stalled\{host="web1",detector="memory"\} 0', r'grass_round_trip_seconds\{host="web1"\} \d',
                   r'grass_heartbeat_age_seconds\{host="web1"\} \d', r'grass_engine_beats_total\{host="web1"\} [1-9]\d*',
                   r'gpusentinel_files_open_files\{host="web1"\} [1-9]\d*'):
        check(re.search(f"(?m)^{wanted}", text), f"there is no {wanted} in:\n{text}")
    status, kind, text = get(test.url, "text/plain")
    check(status == 200 and kind.startswith("text/plain; version=0.0.4") and "# EOF" not in text, f"{status} {kind}")
    families_are_contiguous(text, {})
    done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=60, check=False)
    check(done.returncode == 0 and not done.stdout.strip(), f"promtool check metrics: {done.stdout}")
    # What alerts and the dashboard ask for exists, but for what nothing has been found or posted yet.
    missing = {name for name in names if not re.search(rf"(?m)^{name}[ {{]", text)} - {"grass_findings_total", "grass_findings_open"}
    check(not missing, f"packaging asks for {missing}")
    check(get(f"http://{test.address}/other")[0] == 404 and get(test.url, method="POST")[0] == 405, "other paths, other methods")
    check(get(test.url, method="HEAD")[0] == 200, "HEAD")


def start_prometheus(test):
    config = test.directory / "prometheus.yml"
    rules = (test.packaging / "prometheus" / "gpusentinel.rules.yml").resolve()
    config.write_text(f"global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: ['{rules}']\n"
                      f"scrape_configs:\n- job_name: gpusentinel\n  static_configs:\n  - targets: ['{test.address}']\n")
    port = free_port()
    test.start("prometheus", f"--config.file={config}", f"--storage.tsdb.path={test.directory / 'tsdb'}",
               f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn")
    test.prometheus = f"http://127.0.0.1:{port}/api/v1"


def query(test, expression):
    """Values by host."""
    answer = json.loads(get(f"{test.prometheus}/query?{urllib.parse.urlencode({'query': expression})}")[2])
    return {one["metric"].get("host"): float(one["value"][1]) for one in answer["data"]["result"]}


def start_alertmanager(test):
    config = test.directory / "alertmanager.yml"
    config.write_text("route:\n  receiver: nobody\nreceivers:\n- name: nobody\n")
    test.start("prometheus-alertmanager", f"--config.file={config}", f"--storage.path={test.directory / 'alerts'}",
               f"--web.listen-address={test.alerts.removeprefix('http://')}", "--cluster.listen-address=", "--log.level=warn")


def posted(test, host):
    """What fires, by name: labels and summary."""
    alerts = json.loads(get(f"{test.alerts}/api/v2/alerts?active=true")[2])
    return {one["labels"]["alertname"]: (one["labels"], one["annotations"]["summary"]) for one in alerts
            if one["labels"]["host"] == host}


def healthy(test):
    check(wait_for("Prometheus", lambda: query(test, "grass_up")) == {"web1": 1, "nobody": 0}, "what Prometheus scrapes")
    check(query(test, 'up{job="gpusentinel"}') == {None: 1}, "Prometheus does not take the text")
    check(query(test, "gpusentinel_files_open_files")["web1"] > 0, "metrics of a detector")
    for panel in test.panels:
        answer = json.loads(get(f"{test.prometheus}/query?{urllib.parse.urlencode({'query': panel.replace('$host', '.*')})}")[2])
        check(answer["status"] == "success", f"{panel}: {answer}")
    # Nobody is there to take the alert about the host that does not answer: that is said once.
    test.exporter.expect("alerts cannot be posted to .*/api/v2/alerts: ")
    start_alertmanager(test)
    test.exporter.expect("alerts are posted to .* again")
    check(test.exporter.count("cannot be posted") == 1, f"said more than once: {test.exporter.lines}")
    check(posted(test, "nobody")["GPUSentinelHostUnreachable"][0]["severity"] == "critical", "the host that does not answer")
    check(not posted(test, "web1"), f"a healthy host has alerts: {posted(test, 'web1')}")


def panic(test):
    test.guest.lab("fault", "panic")
    labels, summary = wait_for("the alert", lambda: posted(test, "web1").get("GPUSentinelKernelDead"))
    check(summary == "kernel panic: sysrq triggered crash", f"the alert says: {summary}")
    check(labels == {"alertname": "GPUSentinelKernelDead", "host": "web1", "severity": "critical"}, f"labels: {labels}")
    labels, summary = wait_for("the event", lambda: posted(test, "web1").get("GPUSentinelEvent"))
    check(labels["detector"] in ("panic", "log") and "sysrq triggered crash" in summary, f"the event: {labels} {summary}")
    wait_for("the dead kernel", lambda: query(test, 'grass_verdict{grass_verdict="os-dead"}')["web1"] == 1)
    check(query(test, "grass_up")["web1"] == 1, "what watches the dead answers")
    wait_for("the panic's count", lambda: query(
        test, 'sum by (host) (grass_findings_total{detector="panic",severity="critical"})').get("web1", 0) >= 1)
    # By Prometheus' own rules, too.
    wait_for("the rule", lambda: any(
        one["labels"]["alertname"] == "GPUSentinelKernelDead" and one["labels"]["host"] == "web1" and one["state"] == "firing"
        for one in json.loads(get(f"{test.prometheus}/alerts")[2])["data"]["alerts"]))


def silence(test):
    """The one alert ends, and another one begins."""
    test.serve.end(signal.SIGKILL)
    wait_for("the silence", lambda: "GPUSentinelHostUnreachable" in posted(test, "web1"))
    wait_for("the end of the other", lambda: "GPUSentinelKernelDead" not in posted(test, "web1"))
    text = get(test.url, OPEN_METRICS)[2]
    check('grass_up{host="web1"} 0' in text and 'gpusentinel_files_open_files{host="web1"}' not in text,
          "values of a host that does not answer are shown")
    check(test.exporter.end() == 0, f"exporter ends with status {test.exporter.process.returncode}: {test.exporter.lines}")


def run(test):
    names = packaging(test)
    watch(test)
    texts(test, names)
    start_prometheus(test)
    healthy(test)
    panic(test)
    silence(test)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kernel")
    parser.add_argument("--gpusentinel", required=True)
    parser.add_argument("--grass", required=True)
    parser.add_argument("--packaging", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        test = Test(args, directory)
        try:
            run(test)
        except (Failed, subprocess.SubprocessError, OSError, KeyError, ValueError) as error:
            print(f"exporter {args.kernel}: {error!r}")
            return 1
        finally:
            test.end()
    print(f"exporter {args.kernel}: Prometheus has its metrics, Alertmanager its panic")
    return 0


if __name__ == "__main__":
    sys.exit(main())
