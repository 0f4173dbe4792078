-- The baseline *equal*: the same NDJSON ends in Errata's own tables, events, lookup index and rollups, by views that ClickHouse
-- keeps. What a client sends goes to `sent`; `reading` makes of it what the collector's decoding does, once, for all the others.
--
-- An honest effort, and cheaper than the whole: it leaves out whatever SQL has no means for, so the ratio flatters nobody but ClickHouse.
-- Left out: acknowledged retries counted once (the key is computed, not compared), verification after the insert, limits and
-- rejections with reasons, secrets other than e-mail addresses, bodies of other frameworks than the envelope's, field errors nested
-- deeper than one level, routes with other ids than numbers and UUIDs, rules other than those of the messages here, header
-- allow-lists, repeats of an event's own messages in its body, the catalog.
CREATE TABLE errata.sent
(
    request_id String,
    timestamp DateTime64(3, 'UTC'),
    status UInt16,
    service LowCardinality(String),
    environment LowCardinality(String),
    release LowCardinality(String),
    host LowCardinality(String),
    method LowCardinality(String),
    path String,
    account_id String,
    user_id String,
    duration_ms Nullable(Float64),
    client_ip String,
    user_agent LowCardinality(String),
    response_headers Map(String, String),
    exception String,
    response String
)
ENGINE = Null;

CREATE TABLE errata.known
(
    project LowCardinality(String),
    received_at DateTime64(3, 'UTC'),
    week Date,
    key UInt64,
    batch_id UUID,
    k UInt64,
    request_id String,
    timestamp DateTime64(3, 'UTC'),
    status UInt16,
    service LowCardinality(String),
    environment LowCardinality(String),
    release LowCardinality(String),
    host LowCardinality(String),
    method LowCardinality(String),
    path String,
    route LowCardinality(String),
    error LowCardinality(String),
    failures Array(Tuple(field String, message String, rule String)),
    response String,
    account_id String,
    user_id String,
    duration_ms Nullable(Float64),
    client_ip String,
    user_agent LowCardinality(String),
    response_headers Map(String, String),
    exception String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW errata.reading TO errata.known AS
WITH
    -- E-mail addresses, which are the only secrets of these bodies.
    if(position(sent.response, '@') = 0, sent.response, replaceRegexpAll(sent.response, '[\\w.+-]+@[\\w-]+\\.[\\w.-]+', '[email]')) AS body,
    -- Field and message, one a message; of a nested field the names are joined.
    arrayFlatten(arrayMap(
        pair -> if(startsWith(pair.2, '['),
            arrayMap(message -> (pair.1, message), JSONExtract(pair.2, 'Array(String)')),
            arrayFlatten(arrayMap(
                row -> arrayMap(inner -> (concat(pair.1, '[].', inner.1), JSONExtract(inner.2, 'Array(String)')[1]), JSONExtractKeysAndValuesRaw(row.2)),
                JSONExtractKeysAndValuesRaw(pair.2)))),
        JSONExtractKeysAndValuesRaw(body, 'errors'))) AS messages
SELECT
    'default' AS project,
    now64(3, 'UTC') AS received_at,
    toMonday(received_at) AS week,
    sipHash64(request_id, timestamp, status, service, method, path, response) AS key,
    toUUID(queryID()) AS batch_id,
    xxh3(concat('default\0', request_id)) AS k,
    if(sent.request_id = '', JSONExtractString(body, 'request_id'), lower(sent.request_id)) AS request_id,
    timestamp,
    status,
    service,
    environment,
    release,
    host,
    method,
    path,
    replaceRegexpAll(path, '/(?:\\d+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(/|$)', '/{id}\\1') AS route,
    JSONExtractString(body, 'error') AS error,
    arrayMap(
        pair -> (pair.1, pair.2, multiIf(
            pair.2 LIKE '%alid integer%', 'invalid_type(integer)',
            pair.2 LIKE '% is required%', 'required',
            pair.2 LIKE '% may not be blank%', 'blank',
            pair.2 LIKE '% may not be null%', 'null',
            pair.2 LIKE '% must belong to your %', 'not_owned',
            pair.2 LIKE '% must belong to %', 'mismatch',
            pair.2 LIKE '% already exists%' OR pair.2 LIKE '%unique set%', 'unique',
            pair.2 LIKE 'Invalid pk %', 'not_found',
            pair.2 LIKE '%at least % characters%', concat('min_length(', extract(pair.2, 'at least (\\d+)'), ')'),
            pair.2 LIKE '%no more than % characters%', concat('max_length(', extract(pair.2, 'no more than (\\d+)'), ')'),
            pair.2 LIKE '%less than or equal to %', concat('max_value(', extract(pair.2, 'equal to (\\d+)'), ')'),
            pair.2 LIKE '%must be positive%', 'positive',
            pair.2 LIKE 'Insufficient %', 'insufficient',
            pair.2 LIKE '%valid choice%' OR pair.2 LIKE 'Invalid image type%' OR pair.2 LIKE 'Invalid status%', 'invalid_choice',
            pair.2 LIKE '%format%' OR pair.2 LIKE 'Enter a valid %', 'invalid_format',
            'other')),
        messages) AS failures,
    body AS response,
    account_id,
    user_id,
    duration_ms,
    client_ip,
    user_agent,
    mapFilter((name, value) -> lower(name) NOT IN ('authorization', 'cookie', 'set-cookie', 'x-forwarded-for'), response_headers) AS response_headers,
    exception
FROM errata.sent;

CREATE MATERIALIZED VIEW errata.to_events TO errata.events AS
SELECT
    project,
    timestamp,
    received_at,
    key,
    batch_id,
    toUUIDOrZero(request_id) AS request_uuid,
    if(request_uuid = toUUID('00000000-0000-0000-0000-000000000000'), request_id, '') AS request_text,
    status,
    concat(service, '\x1F', environment, '\x1F', release, '\x1F', method, '\x1F', route) AS origin,
    host,
    if(position(route, '{') = 0, '', arrayStringConcat(arrayFilter(
        (segment, template) -> template = '{id}', splitByChar('/', path), splitByChar('/', toString(route))), '/')) AS path_values,
    error,
    failures.field AS `errors.field`,
    failures.message AS `errors.message`,
    failures.rule AS `errors.rule`,
    replaceAll(replaceAll(response, request_id, '\x10'), toString(error), '\x11') AS body,
    account_id,
    user_id,
    duration_ms,
    toUInt32(IPv4StringToNumOrDefault(client_ip)) AS client_ip4,
    user_agent,
    cityHash64(project, service, route, status, replaceRegexpAll(error, '\\d+', '#'), failures.field, failures.rule) AS fingerprint,
    concat('{', arrayStringConcat(arrayFilter(member -> member != '', [
        if(mapContains(response_headers, 'X-Throttle-Limit'), concat(
            '"rate_limit":{"limit":', response_headers['X-Throttle-Limit'], ',"remaining":', response_headers['X-Throttle-Remaining'],
            ',"reset":', response_headers['X-Throttle-Reset'], '}'), ''),
        if(empty(response_headers), '', concat('"response_headers":', toJSONString(response_headers))),
        if(exception = '', '', concat('"exception":', exception)),
        if(position(response, '[email]') = 0, '', '"marks":4')]), ','), '}') AS details
FROM errata.known;

CREATE MATERIALIZED VIEW errata.to_index TO errata.request_index AS
SELECT bitShiftRight(k, 24) AS k, toDateTime(timestamp, 'UTC') AS second, week FROM errata.known;

CREATE MATERIALIZED VIEW errata.to_counts TO errata.rollup_counts AS
SELECT
    week, toUUID('00000000-0000-0000-0000-000000000000') AS batch, project, per,
    if(endsWith(per, 'minute'), minute, toStartOfHour(minute)) AS at,
    service, environment, if(startsWith(per, 'coarse'), '', one.route) AS route, if(startsWith(per, 'coarse'), '', one.method) AS method,
    status, sum(events) AS count
FROM
(
    SELECT week, project, toStartOfMinute(toDateTime(timestamp, 'UTC')) AS minute, service, environment, route, method, status, count() AS events
    FROM errata.known
    GROUP BY ALL
) AS one
ARRAY JOIN ['minute', 'hour', 'coarse_minute', 'coarse_hour'] AS per
GROUP BY week, project, per, at, service, environment, route, method, status;

CREATE MATERIALIZED VIEW errata.to_failures TO errata.rollup_failures AS
SELECT
    week, toUUID('00000000-0000-0000-0000-000000000000') AS batch, project, toStartOfHour(toDateTime(timestamp, 'UTC')) AS at,
    service, environment, route, failure.field AS field, failure.rule AS rule,
    count() AS count,
    countIf(nth_pair = 1) AS events,
    countIf(nth_pair = 1 AND nth_field > 1) AS field_repeats,
    countIf(nth_pair = 1 AND nth_rule > 1) AS rule_repeats,
    countIf(nth_pair = 1 AND nth > 1) AS any_repeats,
    groupUniqArray(account_id) AS accounts,
    min(timestamp) AS first_seen,
    max((timestamp, request_id)) AS last_seen
FROM errata.known
ARRAY JOIN
    failures AS failure,
    arrayEnumerate(failures) AS nth,
    arrayEnumerateUniq(failures.field, failures.rule) AS nth_pair,
    arrayEnumerateUniq(failures.field) AS nth_field,
    arrayEnumerateUniq(failures.rule) AS nth_rule
GROUP BY week, project, at, service, environment, route, field, rule;

CREATE MATERIALIZED VIEW errata.to_accounts TO errata.rollup_accounts AS
SELECT
    week, toUUID('00000000-0000-0000-0000-000000000000') AS batch, project, account_id AS account,
    toStartOfHour(toDateTime(timestamp, 'UTC')) AS at, service, environment, route, method, status, count() AS count
FROM errata.known
WHERE account_id != ''
GROUP BY ALL;
