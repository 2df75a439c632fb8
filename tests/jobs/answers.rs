//! The jobs, with the queries of both sides.

use super::case::{Answer, Case, Output, Reads, check, check_killed, check_killed_at_every_epoch, check_live};
use super::logs;

/// Declares a test for each way in which a case runs.
macro_rules! answers {
    ($($case:ident: $exact:ident, $killed:ident;)*) => {$(
        #[test]
        fn $exact() {
            check(&$case());
        }

        #[test]
        fn $killed() {
            check_killed(&$case());
            check_killed_at_every_epoch(&$case());
        }
    )*};
}

/// Declares a test of each live run.
macro_rules! live {
    ($($case:ident: $name:ident;)*) => {$(
        #[test]
        fn $name() {
            check_live(&$case());
        }
    )*};
}

live! {
    errors_a_minute: errors_a_minute_live_are_those_of_duckdb;
    word_count: words_are_counted_live_as_duckdb_counts_them;
    syslog_severities: syslog_severities_live_are_those_of_duckdb;
    slow_requests: slow_requests_live_are_those_of_duckdb;
    json_to_parquet: events_archived_live_are_those_of_duckdb;
    sessions: sessions_live_are_those_of_duckdb;
    merged_topics: merged_topics_live_are_those_of_duckdb;
}

answers! {
    errors_a_minute: errors_a_minute_are_those_of_duckdb, errors_a_minute_survive_a_kill;
    word_count: words_are_counted_as_duckdb_counts_them, counts_of_words_survive_a_kill;
    distinct_users: distinct_users_are_those_of_duckdb, distinct_users_survive_a_kill;
    syslog_severities: syslog_severities_are_those_of_duckdb, syslog_severities_survive_a_kill;
    slow_requests: slow_requests_are_those_of_duckdb, slow_requests_survive_a_kill;
    json_to_parquet: archived_events_are_those_of_duckdb, archived_events_survive_a_kill;
    key_value_logs: key_value_logs_are_those_of_duckdb, key_value_logs_survive_a_kill;
    sessions: sessions_are_those_of_duckdb, sessions_survive_a_kill;
    merged_topics: merged_topics_are_those_of_duckdb, merged_topics_survive_a_kill;
}

#[test]
fn top_paths_are_those_of_duckdb() {
    check(&top_paths());
}

#[test]
fn top_paths_survive_a_kill_when_they_have_a_checkpoint() {
    check_killed(&kept_top_paths());
    check_killed_at_every_epoch(&kept_top_paths());
}

#[test]
fn top_paths_live_are_those_of_duckdb() {
    check_live(&kept_top_paths());
}

/// Returns the job with a checkpoint: as it is, it keeps nothing.
fn kept_top_paths() -> Case<'static> {
    Case {
        arguments: &["--set", "run.checkpoint=state"],
        ..top_paths()
    }
}

#[test]
fn top_paths_of_an_archive_in_parquet_are_those_of_duckdb() {
    check(&archived_top_paths());
    check_killed(&archived_top_paths());
}

/// Returns the job over Parquet files of what it reads from a topic: the columns are there, and no format is needed.
fn archived_top_paths() -> Case<'static> {
    const TOPIC: &str = r#"kind = "kafka"
brokers = "localhost:9092"
topic = "nginx"
from = "1h"                            # an hour ago
format = ["combined", "common"]        # tried in this order, row by row
"#;
    Case {
        edits: &[(
            TOPIC,
            "kind = \"file\"\npaths = \"logs/*.parquet\"\nformat = \"parquet\"\n",
        )],
        reads: Reads::Parquet(with_garbage(logs::access(600, 5))),
        ..kept_top_paths()
    }
}

/// Returns the lines with those in between that are no requests, one of every hundred.
fn with_garbage(mut lines: Vec<String>) -> Vec<String> {
    for (number, line) in lines.iter_mut().enumerate().skip(7).step_by(100) {
        *line = format!("garbage {number} \"");
    }
    lines
}

fn errors_a_minute() -> Case<'static> {
    Case {
        job: "errors_a_minute",
        source: "logs",
        edits: &[],
        arguments: &[],
        reads: Reads::Topics(vec![with_garbage(logs::access(600, 7))]),
        answers: &[
            Answer {
                output: Output::Parquet("out/errors"),
                found: "SELECT epoch_us(minute) // 1000000, status, hits, bytes FROM output",
                expected:
                    "SELECT epoch(date_trunc('minute', time))::BIGINT AS minute, status, count(*), sum(bytes)::BIGINT
                           FROM requests WHERE status >= 400 GROUP BY minute, status",
            },
            Answer {
                output: Output::Topic("dead_letter.topic"),
                found: "SELECT (row->>'$.partition'), (row->>'$.offset') FROM output",
                expected: r#"SELECT partition, "offset" FROM input WHERE line LIKE 'garbage%'"#,
            },
        ],
    }
}

fn top_paths() -> Case<'static> {
    Case {
        job: "top_paths",
        source: "logs",
        edits: &[],
        arguments: &[],
        reads: Reads::Topics(vec![with_garbage(logs::access(600, 5))]),
        answers: &[Answer {
            output: Output::Console,
            found: "SELECT epoch((row->>'$[0]')::TIMESTAMP)::BIGINT, (row->>'$[2]'), array_to_string(list_transform(
                      from_json(row->>'$[1]', '[{\"value\": \"VARCHAR\", \"count\": \"BIGINT\"}]'),
                      lambda top: concat(top.value, '=', top.count)), ' ')
                    FROM output",
            expected: "SELECT epoch(period)::BIGINT, (sum(hits) + any_value(nameless))::BIGINT,
                        array_to_string(list(concat(path, '=', hits) ORDER BY hits DESC, path)[:10], ' ')
                       FROM (SELECT time_bucket(INTERVAL '5 minutes', time) AS period, path, count(*) AS hits
                             FROM requests WHERE path IS NOT NULL GROUP BY period, path)
                       JOIN (SELECT time_bucket(INTERVAL '5 minutes', time) AS period,
                                    count(*) FILTER (path IS NULL) AS nameless FROM requests GROUP BY period)
                       USING (period)
                       GROUP BY period",
        }],
    }
}

fn word_count() -> Case<'static> {
    let mut lines = logs::lines_of("kafka-server.log");
    lines.truncate(500);
    Case {
        job: "word_count",
        source: "lines",
        edits: &[],
        arguments: &[],
        reads: Reads::Topics(vec![lines]),
        answers: &[Answer {
            output: Output::Console,
            // All counts are put out again and again: the last ones count.
            found: "SELECT (row->>'$[0]'), arg_max((row->>'$[1]')::BIGINT, place) FROM output GROUP BY 1",
            expected: r"SELECT word, count(*)
                        FROM (SELECT unnest(regexp_split_to_array(line, '[ \t\v\f\r]+')) AS word FROM input)
                        WHERE word <> '' GROUP BY word",
        }],
    }
}

fn distinct_users() -> Case<'static> {
    Case {
        job: "distinct_users",
        source: "logs",
        edits: &[],
        arguments: &[],
        reads: Reads::Topics(vec![logs::access_json(600, 300)]),
        answers: &[
            Answer {
                output: Output::Parquet("out/users"),
                found: "SELECT epoch_us(day) // 1000000, users FROM output",
                expected: "SELECT epoch(date_trunc('day', (line->>'$.time')::TIMESTAMP))::BIGINT AS day,
                             count(DISTINCT line->>'$.user')
                           FROM input WHERE (line->>'$.user') <> '' GROUP BY day",
            },
            Answer {
                output: Output::Parquet("out/users_by_area"),
                // The sketch has a standard error of 0.8 %; of less than a hundred it is rarely wrong by one.
                found: "SELECT count(*), count(*) FILTER (abs(users - truth) <= 1) FROM output FULL JOIN (
                          SELECT date_trunc('day', (line->>'$.time')::TIMESTAMP) AS day,
                            split_part(line->>'$.path', '/', 2) AS area, count(DISTINCT line->>'$.user') AS truth
                          FROM input WHERE (line->>'$.user') <> '' GROUP BY day, area) AS exact
                        ON epoch_us(output.day) = epoch_us(exact.day) AND output.area = exact.area",
                expected: "SELECT count(*), count(*) FROM (
                             SELECT DISTINCT (line->>'$.time')::DATE, split_part(line->>'$.path', '/', 2)
                             FROM input WHERE (line->>'$.user') <> '')",
            },
        ],
    }
}

fn syslog_severities() -> Case<'static> {
    Case {
        job: "syslog_severities",
        source: "syslog",
        edits: &[],
        arguments: &[],
        reads: Reads::Topics(vec![logs::syslog(600, 60)]),
        answers: &[Answer {
            output: Output::Topic("sink.topic"),
            // The last one of a key counts, and none may be lower than one before it.
            found: "SELECT epoch((row->>'$.hour')::TIMESTAMP)::BIGINT AS hour, (row->>'$.host') AS host,
                      (row->>'$.severity') AS severity, arg_max((row->>'$.messages')::BIGINT, place)
                    FROM output GROUP BY hour, host, severity",
            expected: r"SELECT epoch(date_trunc('hour', time))::BIGINT AS hour, host, severity, count(*) FROM (
                          SELECT (field.time)::TIMESTAMP AS time, field.host AS host,
                            ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug']
                              [field.priority::BIGINT % 8 + 1] AS severity
                          FROM (SELECT regexp_extract(line, '^<(\d+)>1 (\S+)Z (\S+) ', ['priority', 'time', 'host'])
                                  AS field FROM input))
                        GROUP BY hour, host, severity",
        }],
    }
}

fn slow_requests() -> Case<'static> {
    const ENCRYPTED: &str = r#"
# Any setting of librdkafka.
[source.requests.librdkafka]
"security.protocol" = "SASL_SSL"
"sasl.mechanism" = "SCRAM-SHA-512"
"sasl.username" = "millstream"
"sasl.password" = { env = "KAFKA_PASSWORD" }   # or { file = "/run/secrets/kafka" }
"ssl.ca.location" = "/etc/ssl/certs/ca-certificates.crt"
"#;
    Case {
        job: "slow_requests",
        source: "requests",
        edits: &[(ENCRYPTED, "")],
        arguments: &["--from", "earliest"],
        reads: Reads::Topics(vec![logs::access_json(600, 7)]),
        answers: &[Answer {
            output: Output::Topic("sink.topic"),
            found: "SELECT key, epoch((row->>'$.time')::TIMESTAMP)::BIGINT, (row->>'$.method'), (row->>'$.path'),
                      (row->>'$.status')::BIGINT, (row->>'$.seconds')::DOUBLE
                    FROM output",
            expected:
                "SELECT path, epoch((line->>'$.time')::TIMESTAMP)::BIGINT, (line->>'$.method'), path, status, seconds
                       FROM (SELECT line, (line->>'$.path') AS path, (line->>'$.seconds')::DOUBLE AS seconds,
                               try_cast((line->>'$.status') AS BIGINT) AS status FROM input)
                       WHERE seconds > 1 AND path NOT LIKE '/health%' AND status IS NOT NULL",
        }],
    }
}

fn json_to_parquet() -> Case<'static> {
    Case {
        job: "json_to_parquet",
        source: "events",
        edits: &[],
        arguments: &[],
        reads: Reads::Pattern(vec![logs::events(400, 900), logs::events(200, 1800)]),
        answers: &[
            Answer {
                output: Output::Parquet("out/events"),
                found: r#"SELECT right(topic, 1), partition, "offset", epoch_us(time) // 1000000, id, user_name, amount, paid, items FROM output"#,
                expected: r#"SELECT topic, partition, "offset", epoch((line->>'$.time')::TIMESTAMP)::BIGINT, (line->>'$.id'),
                               lower(line->>'$.user.name'), (line->>'$.amount')::DOUBLE, (line->>'$.paid')::BOOLEAN,
                               (line->>'$.items')::BIGINT
                             FROM input WHERE json_valid(line) AND (line->>'$.id') IS NOT NULL"#,
            },
            Answer {
                output: Output::Parquet("out/events_bad"),
                found: r#"SELECT right(topic, 1), partition, "offset", decode(value) FROM output"#,
                expected: r#"SELECT topic, partition, "offset", line FROM input WHERE NOT json_valid(line)"#,
            },
        ],
    }
}

fn key_value_logs() -> Case<'static> {
    Case {
        job: "key_value_logs",
        source: "logs",
        edits: &[],
        arguments: &[
            "--set",
            "source.logs.paths=[\"logs/*.log\"]",
            "--set",
            "run.checkpoint=state",
            "--set",
            "source.logs.time={ column = \"time\", lateness = \"10s\" }",
        ],
        reads: Reads::File(logs::key_value(600, 1)),
        answers: &[
            Answer {
                output: Output::File("out/levels.csv"),
                // The sketch is within 1 % of the value at its rank.
                found: r"SELECT epoch(output.minute::TIMESTAMP)::BIGINT, output.service, output.level, hits, round(ms_mean::DOUBLE, 6),
                           abs(ms_99::DOUBLE / ms[floor(0.99 * (len(ms) - 1))::BIGINT + 1] - 1) <= 0.010001
                         FROM output LEFT JOIN (
                           SELECT date_trunc('minute', (field.time)::TIMESTAMP) AS minute, field.service AS service,
                             lower(field.level) AS level, list_sort(list((field.ms)::DOUBLE)) AS ms
                           FROM (SELECT regexp_extract(line, '^time=(\S+)Z level=(\S+) service=(\S+) .*ms=([0-9.]+)$',
                                                       ['time', 'level', 'service', 'ms']) AS field FROM input)
                           WHERE field.ms <> '' GROUP BY ALL) AS truth
                         ON output.minute::TIMESTAMP = truth.minute AND output.service = truth.service
                           AND output.level = truth.level",
                expected: r"SELECT epoch(date_trunc('minute', (field.time)::TIMESTAMP))::BIGINT AS minute,
                              field.service AS service, lower(field.level) AS level, count(*),
                              round(avg((field.ms)::DOUBLE), 6), true
                            FROM (SELECT regexp_extract(line, '^time=(\S+)Z level=(\S+) service=(\S+) .*ms=([0-9.]+)$',
                                                        ['time', 'level', 'service', 'ms']) AS field FROM input)
                            WHERE field.ms <> '' GROUP BY minute, service, level",
            },
            Answer {
                output: Output::File("out/levels_bad.jsonl"),
                found: "SELECT value FROM output",
                expected: "SELECT line FROM input WHERE line LIKE '%ms=soon'",
            },
        ],
    }
}

fn sessions() -> Case<'static> {
    Case {
        job: "sessions",
        source: "logs",
        edits: &[],
        arguments: &[],
        reads: Reads::Topics(vec![logs::visitors(600, 60)]),
        answers: &[Answer {
            output: Output::Topic("sink.topic"),
            found: "SELECT key, (row->>'$.client'), epoch((row->>'$.visit')::TIMESTAMP)::BIGINT,
                      (row->>'$.requests')::BIGINT, (row->>'$.bytes')::BIGINT,
                      epoch((row->>'$.first_request')::TIMESTAMP)::BIGINT,
                      epoch((row->>'$.last_request')::TIMESTAMP)::BIGINT
                    FROM output",
            expected: "SELECT host, host, epoch(min(time))::BIGINT, count(*), sum(bytes)::BIGINT,
                         epoch(min(time))::BIGINT, epoch(max(time))::BIGINT
                       FROM (SELECT *, sum(is_first) OVER (PARTITION BY host ORDER BY time ROWS UNBOUNDED PRECEDING) AS visit
                             FROM (SELECT *, CASE WHEN time - lag(time) OVER (PARTITION BY host ORDER BY time)
                                                       < INTERVAL '30 minutes' THEN 0 ELSE 1 END AS is_first
                                   FROM requests))
                       GROUP BY host, visit",
        }],
    }
}

fn merged_topics() -> Case<'static> {
    Case {
        job: "merged_topics",
        source: "logs",
        edits: &[(
            "sink = { kind = \"console\" }",
            "sink = { kind = \"parquet\", dir = \"out\" }",
        )],
        arguments: &[],
        reads: Reads::Topics(vec![
            logs::access(300, 7),
            logs::application(150, 14, 6),
            with_garbage(logs::application(150, 14, 7)),
        ]),
        answers: &[
            Answer {
                output: Output::Topic("query.problems.sink.topic"),
                found: "SELECT key, epoch((row->>'$.time')::TIMESTAMP)::BIGINT, (row->>'$.service'), (row->>'$.message') FROM output",
                expected: r"SELECT 'web', epoch(time)::BIGINT, 'web', concat(method, ' ', path, ' ', status)
                            FROM requests WHERE status >= 500
                            UNION ALL
                            SELECT field.service, epoch((field.time)::TIMESTAMP)::BIGINT - 3600, field.service, field.message
                            FROM (SELECT regexp_extract(line, '^(\S+ \S+) (ERROR|FATAL) \[([^\]]+)\] (.*)$',
                                                        ['time', 'level', 'service', 'message']) AS field FROM input)
                            WHERE field.level <> ''",
            },
            Answer {
                output: Output::Parquet("out"),
                found: "SELECT epoch_us(minute) // 1000000, service, problems FROM output",
                expected: r"SELECT epoch(date_trunc('minute', time))::BIGINT AS minute, service, count(*) FROM (
                              SELECT time, 'web' AS service FROM requests WHERE status >= 500
                              UNION ALL
                              SELECT (field.time)::TIMESTAMP - INTERVAL '1 hour', field.service
                              FROM (SELECT regexp_extract(line, '^(\S+ \S+) (ERROR|FATAL) \[([^\]]+)\] ',
                                                          ['time', 'level', 'service']) AS field FROM input)
                              WHERE field.level <> '')
                            GROUP BY minute, service",
            },
        ],
    }
}
