"""What the measuring scripts share: an engine of their own, HTTP over one kept connection, percentiles, CPU time.

Standard library only. The engine is `libchdb.so`: name it with ERRATA_BENCH_LIB (default: the newest one in the
engine cache of `errata engine install`). Data goes to ERRATA_BENCH_DIR (default: a temporary directory).
"""

import ctypes, glob, http.client, os, pathlib, signal, socket, subprocess, sys, tempfile, time, urllib.parse

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent


def library():
    named = os.environ.get("ERRATA_BENCH_LIB")
    if named:
        return named
    cached = sorted(glob.glob(os.path.expanduser("~/.cache/errata/engine/*/libchdb.so")))
    if not cached:
        sys.exit("no engine: run `errata engine install`, or name a libchdb.so with ERRATA_BENCH_LIB")
    return cached[-1]


def serve(directory, port):
    """Becomes a ClickHouse HTTP server on loopback; ends with its parent."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    config = f"{directory}/config.xml"
    with open(config, "w") as file:
        file.write(
            # clickhouse-local reads the level from `log-level`, not from `logger.level`.
            f"<clickhouse><log-level>warning</log-level><logger><log>{directory}/engine.log</log><console>0</console></logger><keep_alive_timeout>3600</keep_alive_timeout>"
            "<max_server_memory_usage>6000000000</max_server_memory_usage>"
            "<mark_cache_size>268435456</mark_cache_size></clickhouse>"
        )
    forever = (
        "SYSTEM START LISTEN HTTP; SELECT sleepEachRow(1) FROM numbers(1000000000) SETTINGS "
        "function_sleep_max_microseconds_per_block=10000000000, max_block_size=1 FORMAT Null"
    )
    arguments = ["clickhouse", f"--path={directory}/data", f"--http_port={port}", "--listen_host=127.0.0.1",
                 f"--config-file={config}", "--multiquery", f"--query={forever}"]
    deepbind = 0x8
    chdb = ctypes.CDLL(library(), mode=os.RTLD_NOW | os.RTLD_LOCAL | deepbind)
    array = (ctypes.c_char_p * len(arguments))(*[a.encode() for a in arguments])
    sys.exit(chdb.chdb_query_cmdline(len(arguments), array))


class Engine:
    def __init__(self, name):
        base = os.environ.get("ERRATA_BENCH_DIR") or tempfile.mkdtemp(prefix="errata-bench-")
        self.directory = f"{base}/{name}"
        os.makedirs(self.directory, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = subprocess.Popen([sys.executable, __file__, self.directory, str(self.port)])
        for _ in range(200):
            try:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=900)
                self.connection.connect()
                self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                break
            except OSError:
                time.sleep(0.05)
        self.version = self.query("SELECT version()").strip()

    def query(self, sql, body=None, **settings):
        parameters = dict(settings)
        if body is not None:
            parameters["query"] = sql
        path = "/?" + urllib.parse.urlencode(parameters)
        self.connection.request("POST", path, body=sql if body is None else body)
        response = self.connection.getresponse()
        data = response.read()
        if response.status != 200 or b"__exception__" in data[-200:]:
            raise RuntimeError(data[:2000].decode(errors="replace"))
        return data if settings.get("raw") else data.decode(errors="replace")

    def raw(self, sql, **settings):
        self.connection.request("POST", "/?" + urllib.parse.urlencode(settings), body=sql)
        response = self.connection.getresponse()
        data = response.read()
        if response.status != 200:
            raise RuntimeError(data[:2000].decode(errors="replace"))
        return data

    def cpu(self):
        """CPU seconds of the engine so far, user and system."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rest(self):
        """Waits until no merge runs."""
        quiet = 0
        while quiet < 5:
            quiet = quiet + 1 if self.query("SELECT count() FROM system.merges").strip() == "0" else 0
            time.sleep(0.2)

    def stop(self):
        self.process.kill()
        self.process.wait()


def migrate(engine, database):
    engine.query(f"CREATE DATABASE IF NOT EXISTS {database} ENGINE = Atomic")
    for path in sorted((ROOT / "migrations").glob("*.sql")):
        text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("--"))
        for statement in text.replace("{database}", database).split(";\n"):
            if statement.strip():
                engine.query(statement)


def rows(first, count, start, step):
    return (HERE / "generator.sql").read_text().format(first=first, rows=count, start=start, step=step)


def percentile(samples, share):
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
