"""The picks of every balancing method beside a running nginx's: tests/upstream/compare_with_nginx."""

import os
import re
import subprocess

import harness

PROGRAM = os.path.join(harness.HERE, os.pardir, "upstream", "compare_with_nginx")


def jobs(report, world):
    name = "picks of all balancing methods beside nginx"
    if not report.wants(name):
        return
    yield lambda: compare(report, world, name)


def compare(report, world, name):
    if harness.NGINX is None:
        report.skip(name, "nginx is not installed")
        return
    done = subprocess.run([PROGRAM, os.path.join(world.build, "tests", "pick")], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    count = re.search(r"^(\d+) passed, (\d+) failed$", done.stdout, re.MULTILINE)
    if count is None or done.returncode != 0:
        report.add(name, done.stdout)
    if count is not None:
        with report.lock:
            report.passed += int(count[1])
