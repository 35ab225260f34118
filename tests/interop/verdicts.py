"""`nginx -t` and `wsproxy-gateway -t` judge the same snippets: both accept, or both refuse."""

import os
import re
import subprocess

import compare
import harness
from snippets import FILES, SNIPPETS

# Where the verdicts differ on purpose, and why. Each expression matches the whole of a snippet's text.
DECIDED = (
    ("a buffer of nothing holds no head", r"proxy_buffer_size 0;"),
    ("no worker would serve nobody", r"worker_processes 0;"),
    ("a field without a name cannot be sent", r"proxy_set_header '' b;"),
    ("no response has such a status", r"return (0|199);"),
    ("this balancing method has no backups, wherever they stand", r"server .* backup; .* hash \$host;"),
    ("typographic quotes quote nothing", "add_header A \u201cb\u201d;"),
    (
        "the variable is not there, or not yet",
        r"add_header A .*\$(upstream_(?!addr;|http)|request_time|body_bytes|nginx_version|remote_user|ssl_"
        r"|request_completion|limit_rate).*;",
    ),
    ("long words are no trouble", r"events \{\} http \{ add_header A 'x{5000}'; \}"),
    ("what restricts access is not ignored", r"(?s).*deny all;.*"),
)

AROUND = {
    "one.conf": "add_header A b;\n",
    "other.conf": "add_header C d;",
    "broken.conf": "add_header A b\n",
    "loop.conf": "include loop.conf;\n",
    "lines.map": "a b;\nc d;\n",
}


class Judges:
    """Both programs, a directory with the files that snippets include, and ports that nobody listens on."""

    def __init__(self, world):
        self.world = world
        self.directory = os.path.join(world.directory, "verdicts")
        os.makedirs(self.directory)
        self.values = {"PORT": world.refusing_port(), "PORT2": world.refusing_port(), "DIR": self.directory}
        for name, text in AROUND.items():
            with open(os.path.join(self.directory, name), "w", encoding="utf-8") as file:
                file.write(text)

    def file(self, block, text, name):
        whole = FILES[block].replace("@TEXT@", text)
        for key, value in self.values.items():
            whole = whole.replace(f"@{key}@", str(value))
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(whole)
        return path, whole

    def ours(self, path):
        done = subprocess.run([self.world.gateway, "-t", "-c", path], capture_output=True, text=True)
        return done.returncode, done.stderr

    def nginx(self, path, whole):
        pid = [] if re.search(r"\bpid ", whole) else ["-g", f"pid {self.directory}/pid;"]
        command = [harness.NGINX, "-t", "-p", self.directory, "-e", "stderr", "-c", path, *pid]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stderr


def judge(judges, block, text, number):
    path, whole = judges.file(block, text, f"{number}.conf")
    (theirs, their_text), (our, our_text) = judges.nginx(path, whole), judges.ours(path)
    if our not in (0, 1):
        raise compare.Difference(f"wsproxy-gateway ended with {our}:\n{our_text}")
    decided = any(re.fullmatch(pattern, text) for _, pattern in DECIDED)
    if ((theirs == 0) == (our == 0)) == decided:
        expected = "differ, as it is decided" if decided else "agree"
        raise compare.Difference(
            f"the verdicts do not {expected}.\n"
            f"nginx: {theirs}\n{their_text}wsproxy-gateway: {our}\n{our_text}"
        )
    if our == 1 and not re.search(r"\.conf:\d+:\d+: error: ", our_text):
        raise compare.Difference(f"no place is named:\n{our_text}")


def jobs(report, world):
    """Shares of the snippets, to be judged at a time."""
    wanted = [
        (i, block, text)
        for i, (block, text) in enumerate(SNIPPETS)
        if report.wants(f"nginx -t, {block}: {text}")
    ]
    if not wanted:
        return
    if not harness.has_ipv6():  # nginx opens the ports
        report.skip("nginx -t, listen [::1]", "there is no IPv6 here")
        wanted = [each for each in wanted if "listen [::1]" not in each[2]]
    judges = Judges(world)
    for share in range(6):
        yield lambda share=share: [
            report.check(f"nginx -t, {block}: {text}", judge, judges, block, text, i)
            for i, block, text in wanted[share::6]
        ]
