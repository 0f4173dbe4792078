"""The API and the console over the 100 M events that load_100m.py has loaded: lookups, 30-day charts and pages, idle, and lookups under full ingest.

    ERRATA_BENCH_DIR=DIR python3 benches/store/load_100m.py 100
    cargo build --release -p errata -p errata-load
    ERRATA_BENCH_DIR=DIR python3 benches/store/api_100m.py 100

The release binary serves on loopback, with the loaded engine as its ClickHouse. The rollups are filled by hours, and by minutes for
the last two days, those of accounts and issues for the last eight, as delivery would have filled them. Load: errata-load's events, 500 a request, 8 connections, each sending
as soon as it is answered.
"""

import http.client, json, os, pathlib, re, socket, subprocess, sys, tempfile, threading, time, urllib.parse
import bench
from lookup_index import LEAN, ids, timed, two_steps

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
ZERO = "toUUID('00000000-0000-0000-0000-000000000000')"
ERRATA = str(bench.ROOT / "target/release/errata")
LOADER = str(bench.ROOT / "target/release/errata-load")
SHIPPED = int(os.environ.get("BENCH_EVENTS", 1_500_000))
PAGES = int(os.environ.get("BENCH_PAGES", 61))
ONLY = os.environ.get("BENCH_ONLY", "")


def filled(engine, table, condition="1"):
    return engine.query(f"SELECT count() FROM b.{table} WHERE {condition}").strip() != "0"


def end_of_loaded(engine, million):
    """When the events of load_100m.py end; a run of this script ships further ones, at the time of the run."""
    return int(engine.query("SELECT toUnixTimestamp64Milli(max(timestamp)) FROM b.events WHERE "
                            f"batch_id = reinterpretAsUUID(sipHash128(toUInt64({million * 10 - 1}), 'batch')) FORMAT TSV"))


def fill_rollups(engine, million):
    """As delivery fills them: all of the range by hours, by minutes and by accounts the last days."""
    newest = end_of_loaded(engine, million)
    first, last = (int(ms) for ms in engine.query(
        "SELECT toUnixTimestamp64Milli(min(received_at)), toUnixTimestamp64Milli(max(received_at)) FROM b.events FORMAT TSV").split())
    cell = f"toMonday(received_at) AS week, {ZERO} AS batch, project"
    hour = "toStartOfHour(toDateTime(timestamp, 'UTC')) AS at"
    counts = lambda per, start_of, of_cell: (
        f"INSERT INTO b.rollup_counts SELECT {cell}, '{per}', {start_of}(toDateTime(timestamp, 'UTC')) AS at, service, environment, {of_cell}, status, count()")
    both, neither = "route, method", "'' AS cell_route, '' AS cell_method"
    of_day = {
        "counts by the hour": (first, "rollup_counts", "per = 'hour'", [
            counts("day", "toStartOfDay", both), counts("hour", "toStartOfHour", both), counts("coarse_hour", "toStartOfHour", neither)]),
        "counts by the minute": (newest - 2 * DAY_MS, "rollup_counts", "per = 'minute'", [
            counts("minute", "toStartOfMinute", both), counts("coarse_minute", "toStartOfMinute", neither)]),
        "failures": (first, "rollup_failures", "1", [
            f"INSERT INTO b.rollup_failures SELECT {cell}, {hour}, service, environment, route, field, rule, count(), count(), 0, 0, 0, "
            "groupUniqArray(account_id), min(timestamp), max((timestamp, request_id))"]),
        "days of failures": (first, "rollup_failure_days", "1", [
            f"INSERT INTO b.rollup_failure_days SELECT {cell}, toStartOfDay(toDateTime(timestamp, 'UTC')) AS at, service, environment, route, field, rule, "
            "count(), count(), 0, 0, 0, groupUniqArray(account_id), min(timestamp), max((timestamp, request_id))"]),
        "counts of failures": (first, "rollup_failure_counts", "1", [
            f"INSERT INTO b.rollup_failure_counts SELECT {cell}, '{per}', toDateTime({begin}(toDateTime(timestamp, 'UTC')), 'UTC') AS at, "
            "service, environment, route, field, rule, count()" for per, begin in (("day", "toStartOfDay"), ("week", "toMonday"))]),
        "accounts": (newest - 8 * DAY_MS, "rollup_accounts", "1", [
            f"INSERT INTO b.rollup_accounts SELECT {cell}, account_id, {hour}, service, environment, route, method, status, count()"]),
        "issues": (first, "rollup_issues", "1", [
            f"INSERT INTO b.rollup_issues SELECT {cell}, {hour}, fingerprint, environment, release, count(), max(toUnixTimestamp64Milli(timestamp) % 3600000)",
            "INSERT INTO b.issues (project, fingerprint, service, route, status, error_template, fields, rules, first_seen, last_seen) "
            "SELECT project, fingerprint, any(service), any(route), any(status), any(error_template), any(`errors.field`), any(`errors.rule`), "
            "min(timestamp), max(timestamp)",
            "INSERT INTO b.release_hours SELECT project, toStartOfHour(toDateTime(timestamp, 'UTC')) AS at, environment, release"]),
    }
    for name, (since, table, condition, inserts) in of_day.items():
        if filled(engine, table, condition):
            continue
        begin = time.time()
        for day in range(since // DAY_MS, last // DAY_MS + 1):
            span = (f"FROM b.events WHERE received_at >= fromUnixTimestamp64Milli({day * DAY_MS}) "
                    f"AND received_at < fromUnixTimestamp64Milli({(day + 1) * DAY_MS})")
            if table.startswith("rollup_failure"):
                span = f"{span} AND notEmpty(`errors.field`)".replace("b.events", "b.events ARRAY JOIN `errors.field` AS field, `errors.rule` AS rule")
            for insert in inserts:
                engine.query(f"{insert} {span} GROUP BY " + ("project, fingerprint" if "b.issues " in insert else "ALL"))
        print(f"{name} filled in {time.time() - begin:.0f} s", flush=True)
    # The events are older than these tables, and the rollups, filled here, know them all the same.
    engine.query("TRUNCATE TABLE b.rollup_start")
    engine.query("TRUNCATE TABLE b.issue_start")
    engine.query("TRUNCATE TABLE b.failure_day_start")
    engine.rest()
    merge_closed_weeks(engine)


class Collector:
    def __init__(self, engine):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.directory = tempfile.mkdtemp(prefix="errata-bench-")
        settings = {"ERRATA_LISTEN": f"127.0.0.1:{self.port}", "ERRATA_DATA_DIR": self.directory,
                    "ERRATA_CLICKHOUSE__URL": f"http://127.0.0.1:{engine.port}", "ERRATA_CLICKHOUSE__DATABASE": "b"}
        others = {name: value for name, value in os.environ.items() if not name.startswith("ERRATA_")}
        self.process = subprocess.Popen([ERRATA, "serve"], env={**others, **settings}, cwd=self.directory,
                                        stdout=subprocess.DEVNULL, stderr=open(f"{self.directory}/log", "w"))
        token = pathlib.Path(self.directory, "admin.token")
        for _ in range(600):
            if self.process.poll() is not None:
                sys.exit(pathlib.Path(self.directory, "log").read_text())
            if token.exists() and self.ready():
                break
            time.sleep(0.05)
        self.token = token.read_text().strip()
        self.connection = self.connect()

    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def ready(self):
        try:
            connection = self.connect()
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def get(self, path, connection=None):
        connection = connection or self.connection
        begin = time.perf_counter()
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        response = connection.getresponse()
        data = response.read()
        took = (time.perf_counter() - begin) * 1000
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {data[:500]}")
        return took, json.loads(data)["data"]

    def sign_in(self):
        self.cookies = {}
        token = re.search(rb'name="form_token" value="([0-9a-f]+)"', self.page("/sign-in")[1]).group(1).decode()
        self.page("/sign-in", urllib.parse.urlencode({"form_token": token, "token": self.token, "next": "/"}))

    def page(self, path, form=None):
        headers = {"Accept": "text/html", "Accept-Encoding": "gzip" if self.cookies.get("errata_session") else "identity",
                   "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        begin = time.perf_counter()
        self.connection.request("POST" if form else "GET", path, body=form, headers=headers)
        response = self.connection.getresponse()
        data = response.read()
        took = (time.perf_counter() - begin) * 1000
        for line in response.headers.get_all("Set-Cookie") or []:
            name, value = line.split(";")[0].split("=", 1)
            self.cookies[name] = value
        if response.status not in (200, 303):
            raise RuntimeError(f"{path}: {response.status} {data[:500]}")
        return took, data

    def ship(self, bodies, counts):
        connection = self.connect()
        while bodies:
            body = bodies.pop()
            connection.request("POST", "/api/v1/events", body=body, headers={
                "Authorization": f"Bearer {self.token}", "Content-Type": "application/x-ndjson"})
            response = connection.getresponse()
            data = response.read()
            if response.status != 202:
                raise RuntimeError(data[:500])
            counts.append(json.loads(data)["data"]["accepted"])

    def stop(self):
        self.process.terminate()
        self.process.wait()


def merge_closed_weeks(engine):
    """As the collector does it, of the rollups: the latest two weeks stay as they are."""
    weeks = engine.query("SELECT table, partition FROM (SELECT table, partition, count() AS parts, dense_rank() OVER (PARTITION BY table "
                         "ORDER BY partition DESC) AS age FROM system.parts WHERE active AND database = 'b' AND table LIKE 'rollup_%' AND partition LIKE '20%' "
                         "GROUP BY table, partition) WHERE age > 2 AND parts > 1 FORMAT TSV")
    for week in weeks.splitlines():
        table, partition = week.split("\t")
        engine.query(f"OPTIMIZE TABLE b.{table} PARTITION '{partition}' FINAL")


def note_migrations(engine):
    """The tables are there; that they are is noted by a collector, which says in the same step up to when rollups know nothing."""
    collector = Collector(engine)
    noted = "SELECT sum(total_rows) FROM system.tables WHERE database = 'b' AND name = 'schema_migrations'"
    while int(engine.query(noted)) < len(list((bench.ROOT / "migrations").glob("*.sql"))):
        time.sleep(0.05)
    collector.stop()


def made_bodies():
    events = subprocess.run([LOADER, "--events", str(SHIPPED), "--seed", str(time.time_ns() % 1_000_000), "events"], stdout=subprocess.PIPE, check=True).stdout
    lines = events.splitlines(keepends=True)
    return [b"".join(lines[at:at + 500]) for at in range(0, len(lines), 500)]


def measure(engine, collector, rids, go_on):
    taken = {"`SELECT 1`": [], "lookup: index and event": [], "`GET /api/v1/requests/{id}`": []}
    for rid in rids:
        if not go_on():
            break
        taken["`SELECT 1`"].append(timed(engine, "SELECT 1", LEAN)[0])
        taken["lookup: index and event"].append(sum(two_steps(engine, rid, "request_index", "events", {})))
        took, found = collector.get(f"/api/v1/requests/{rid}")
        assert found["events"][0]["request_id"] == rid
        taken["`GET /api/v1/requests/{id}`"].append(took)
    return taken


def yardstick(engine):
    """Milliseconds of the same work for one core each time: the machine is shared, and its speed changes by half within an hour."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        engine.query("SELECT sum(cityHash64(number)) FROM numbers(20000000)", max_threads=1)
        times.append((time.perf_counter() - start) * 1000)
    return min(times)


def measure_pages(engine, collector, rids, newest):
    """From the request to the last byte, compressed. No range is asked for twice, but those of whole days: what ClickHouse remembers of conditions is
    cleared before each page."""
    collector.sign_in()
    moment = lambda ms: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms / 1000))
    route, service, rare = engine.query(
        f"SELECT route, service, account_id FROM b.events WHERE timestamp > fromUnixTimestamp64Milli({newest - DAY_MS // 24}) AND status = 400 "
        "AND length(account_id) = 5 LIMIT 1 FORMAT TSV").strip().split("\t")
    filters = {"": "", "5xx": "status=5xx", "a route": urllib.parse.urlencode({"route": route}), "a service, status and method": f"service={service}&status=422&method=POST",
               "field and rule": "field=email&rule=required", "a busy account": "account_id=1", "a rare account": f"account_id={rare}", "a text": "q=characters"}
    pages = {"/requests/{id}": [f"/requests/{rid}" for rid in rids[:200]]}
    for days in (1, 7, 30):
        # A day within the two that have minutes, longer ranges before them: they are read by hours and days.
        ends = [newest - (0 if days == 1 else 2 * DAY_MS) - at * 613_000 for at in range(PAGES)]
        ranges = [f"from={moment(end - days * DAY_MS)}&to={moment(end)}" for end in ends]
        pages[f"/ over {days} d"] = [f"/?{of}" for of in ranges]
        pages[f"/overview/accounts over {days} d"] = [f"/overview/accounts?{of}" for of in ranges]
        # As the page widens the picker's lengths, to whole hours, or whole days of which the last one has just begun; and what somebody typed or
        # dragged, which cuts hours.
        unit = HOUR_MS if days == 1 else DAY_MS
        whole = [(end - days * DAY_MS, end + (0 if days == 1 else DAY_MS)) for end in (
            ends[0] // unit * unit - (at * unit if days == 1 else 0) for at in range(PAGES))]
        pages[f"/validation over {days} d"] = [f"/validation?from={moment(begin)}&to={moment(end)}" for begin, end in whole]
        pages[f"/validation over {days} d, hours cut"] = [f"/validation?{of}" for of in ranges]
        pages[f"/validation/friction over {days} d"] = [f"/validation/friction?{of}" for of in ranges[:9]]
        for name, chosen in filters.items():
            pages[f"/explore over {days} d, {name or 'all'}"] = [f"/explore?{of}&{chosen}" for of in ranges]
    print("| page | samples | p50 ms | p95 ms | p99 ms | bytes | yardstick ms |\n|---|---|---|---|---|---|---|")
    for name, paths in pages.items():
        if not re.search(ONLY, name):
            continue
        collector.page(paths[0])
        before = yardstick(engine)
        taken = []
        for path in paths[1:]:
            engine.query("SYSTEM DROP QUERY CONDITION CACHE")
            taken.append(collector.page(path))
        kinds = {name: taken}
        if name == "/requests/{id}":
            # Asked for afterwards: it would warm what is measured.
            statuses = [collector.get(f"/api/v1{path}")[1]["events"][-1]["status"] for path in paths[1:]]
            kinds[f"{name}, a 429"] = [page for page, status in zip(taken, statuses) if status == 429]
        for kind, pages_taken in kinds.items():
            times = [took for took, _ in pages_taken]
            p50, p95, p99 = (bench.percentile(times, part) for part in (.5, .95, .99))
            print(f"| {kind} | {len(times)} | {p50:.1f} | {p95:.1f} | {p99:.1f} | {max(len(data) for _, data in pages_taken)} | "
                  f"{(before + yardstick(engine)) / 2:.0f} |", flush=True)


def show(title, taken):
    one = bench.percentile(taken["`SELECT 1`"], .5)
    print(f"| {title} | samples | p50 ms | p99 ms | p50 in `SELECT 1` | p99 |\n|---|---|---|---|---|---|")
    for name, samples in taken.items():
        p50, p99 = bench.percentile(samples, .5), bench.percentile(samples, .99)
        print(f"| {name} | {len(samples)} | {p50:.2f} | {p99:.2f} | {p50 / one:.1f} | {p99 / one:.1f} |")
    print(flush=True)


def main():
    million = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    engine = bench.Engine(f"lookup-{million}")
    note_migrations(engine)
    fill_rollups(engine, million)
    print(engine.query("SELECT table, count() AS parts, sum(rows) AS rows, sum(bytes_on_disk) AS bytes FROM system.parts WHERE active AND database = 'b' GROUP BY table ORDER BY table FORMAT TSVWithNames"))
    collector = Collector(engine)
    try:
        rids = ids(engine, million * 1_000_000)
        for rid in rids[:20]:
            collector.get(f"/api/v1/requests/{rid}")
        show("idle", measure(engine, collector, rids[20:], lambda: True))
        for query in ("group_by=status&step=1d", "group_by=status&step=1h", "group_by=service&step=1d", "group_by=route&step=1d", "group_by=status,route&step=1d", "group_by=route&step=6h"):
            samples = [collector.get(f"/api/v1/rates?from=-30d&{query}")[0] for _ in range(30)]
            print(f"`GET /api/v1/rates?from=-30d&{query}`: p50 {bench.percentile(samples, .5):.1f} ms, p99 {bench.percentile(samples, .99):.1f} ms")
        measure_pages(engine, collector, rids, end_of_loaded(engine, million))
        bodies, counts = made_bodies(), []
        begin = time.time()
        threads = [threading.Thread(target=collector.ship, args=(bodies, counts)) for _ in range(8)]
        for thread in threads:
            thread.start()
        taken = measure(engine, collector, rids, lambda: any(thread.is_alive() for thread in threads))
        for thread in threads:
            thread.join()
        print(f"\n{sum(counts)} events acknowledged in {time.time() - begin:.0f} s")
        show("under load", taken)
    finally:
        collector.stop()
        engine.stop()


main()
