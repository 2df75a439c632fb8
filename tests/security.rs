//! Passwords, certificates and rights, on a real broker with SASL and TLS listeners and ACLs; and that no secret is told.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use crate::harness::broker::Broker;
use crate::harness::process::{Ended, Run};
use crate::harness::records::{Isolation, NewRecord};
use crate::harness::scratch::Scratch;
use crate::harness::{PATIENCE, parquet};

const RECORDS: usize = 3;

/// What the message of every failed connection begins with.
const CANNOT_CONNECT: &str = "millstream: cannot connect to ";

/// A user who may do everything.
const ADMIN: [(&str, &str); 2] = [("sasl.username", "admin"), ("sasl.password", "admin-secret")];

/// Returns a topic with [`RECORDS`] records of one word.
fn topic(name: &str) -> String {
    let topic = Broker::secure().new_topic(name, 1);
    Broker::secure().produce(&topic, 0, (0..RECORDS).map(|_| NewRecord::of("word")));
    topic
}

/// A topic for those who need no other.
fn shared_topic() -> &'static str {
    static TOPIC: OnceLock<String> = OnceLock::new();
    TOPIC.get_or_init(|| topic("guarded"))
}

fn write_properties(scratch: &Scratch, settings: &[(&str, &str)]) {
    let line = |(name, value): &(&str, &str)| format!("{name} = {value}\n");
    let text: String = settings.iter().map(line).collect();
    fs::write(scratch.join("client.properties"), text).expect("the scratch folder can be written");
}

fn command(scratch: &Scratch, verb: &str, address: &str, topic: &str, options: &[&str]) -> Run {
    let run = Run::millstream(scratch, verb).args([verb, "--brokers", address, "--topic", topic]);
    run.args(["--properties", "client.properties", "--to", "latest"])
        .args(options)
}

/// Archives the shared topic with these settings.
#[track_caller]
fn replay(address: &str, settings: &[(&str, &str)]) -> (Scratch, Ended) {
    let scratch = Scratch::new("secure");
    write_properties(&scratch, settings);
    let run = command(&scratch, "replay", address, shared_topic(), &["--out", "archive"]);
    let ended = run.env("SECRET_OF_ADMIN", "admin-secret").finish(PATIENCE);
    (scratch, ended)
}

#[track_caller]
fn check_entry(address: &str, settings: &[(&str, &str)]) {
    let (scratch, ended) = replay(address, settings);
    ended.expect_code(0);
    let expected = Broker::secure().consume(shared_topic(), Isolation::ReadCommitted);
    assert_eq!(parquet::records(&scratch.join("archive")), expected);
}

#[track_caller]
fn check_refused(address: &str, settings: &[(&str, &str)], parts: &[&str]) {
    let (scratch, ended) = replay(address, settings);
    assert_holds(
        &ended.expect_code(4).stderr,
        &[&[CANNOT_CONNECT, address], parts].concat(),
    );
    assert!(parquet::files(&scratch.join("archive")).is_empty());
}

#[track_caller]
fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is in the message:\n{text}");
    }
}

fn sasl<'s>(protocol: &'s str, mechanism: &'s str, ca: &'s str) -> Vec<(&'s str, &'s str)> {
    vec![
        ("security.protocol", protocol),
        ("sasl.mechanism", mechanism),
        ("ssl.ca.location", ca),
    ]
}

fn ca() -> String {
    Broker::secure().certificate("ca.pem").display().to_string()
}

#[test]
fn the_right_password_opens_every_sasl_listener() {
    let broker = Broker::secure();
    let ca = ca();
    for (address, protocol, mechanism) in [
        (broker.sasl_plaintext(), "SASL_PLAINTEXT", "SCRAM-SHA-256"),
        (broker.sasl_plaintext(), "SASL_PLAINTEXT", "SCRAM-SHA-512"),
        (broker.sasl_ssl(), "SASL_SSL", "SCRAM-SHA-256"),
        (broker.sasl_ssl(), "SASL_SSL", "SCRAM-SHA-512"),
    ] {
        check_entry(&address, &[sasl(protocol, mechanism, &ca), ADMIN.to_vec()].concat());
    }
    broker.allow("User:alice", shared_topic());
    broker.allow("User:alice", &format!("millstream-replay-{}", shared_topic()));
    let alice = [("sasl.username", "alice"), ("sasl.password", "alice-secret")];
    check_entry(
        &broker.sasl_plaintext(),
        &[sasl("SASL_PLAINTEXT", "PLAIN", &ca), alice.to_vec()].concat(),
    );
}

#[test]
fn a_password_may_come_from_the_environment() {
    let (ca, secret) = (ca(), ("sasl.password", "${env:SECRET_OF_ADMIN}"));
    let settings = [sasl("SASL_SSL", "SCRAM-SHA-256", &ca), vec![ADMIN[0], secret]].concat();
    check_entry(&Broker::secure().sasl_ssl(), &settings);
}

#[test]
fn a_wrong_password_is_refused_at_once() {
    let broker = Broker::secure();
    let (ca, wrong) = (ca(), vec![ADMIN[0], ("sasl.password", "wrong-secret")]);
    for (address, protocol, mechanism) in [
        (broker.sasl_plaintext(), "SASL_PLAINTEXT", "PLAIN"),
        (broker.sasl_plaintext(), "SASL_PLAINTEXT", "SCRAM-SHA-256"),
        (broker.sasl_ssl(), "SASL_SSL", "SCRAM-SHA-512"),
    ] {
        let settings = [sasl(protocol, mechanism, &ca), wrong.clone()].concat();
        check_refused(&address, &settings, &["uthentication"]);
    }
}

#[test]
fn a_client_certificate_opens_the_mutual_tls_listener() {
    let broker = Broker::secure();
    let (ca, certificate) = (ca(), broker.certificate("client.pem").display().to_string());
    let key = broker.certificate("client.key").display().to_string();
    broker.allow("User:CN=client", shared_topic());
    broker.allow("User:CN=client", &format!("millstream-replay-{}", shared_topic()));
    let tls = [("security.protocol", "ssl"), ("ssl.ca.location", ca.as_str())];
    let own = [
        ("ssl.certificate.location", certificate.as_str()),
        ("ssl.key.location", key.as_str()),
    ];
    check_entry(&broker.mutual_tls(), &[tls, own].concat());
    check_refused(&broker.mutual_tls(), &tls, &["certificate"]);
}

#[test]
fn a_broker_whose_certificate_is_not_trusted_is_refused() {
    let broker = Broker::secure();
    // The system's authorities have not signed the test broker's certificate.
    let settings = [
        vec![("security.protocol", "SASL_SSL"), ("sasl.mechanism", "SCRAM-SHA-256")],
        ADMIN.to_vec(),
    ]
    .concat();
    check_refused(&broker.sasl_ssl(), &settings, &["TLS failed", "certificate"]);
}

#[test]
fn the_wrong_protocol_for_a_listener_is_hinted_at() {
    let broker = Broker::secure();
    let hint = "check the address, and that security.protocol is the listener's";
    check_refused(&broker.sasl_plaintext(), &[("security.protocol", "plaintext")], &[hint]);
    check_refused(&broker.sasl_ssl(), &[("security.protocol", "plaintext")], &[hint]);
}

#[test]
fn a_mistake_in_the_properties_file_is_named_without_its_value() {
    let address = "127.0.0.1:1";
    let check = |settings: &[(&str, &str)], code: i32, parts: &[&str]| {
        let (_, ended) = replay(address, settings);
        let stderr = ended.expect_code(code).stderr;
        assert_holds(&stderr, parts);
        assert!(!stderr.contains("canary"), "{stderr}");
    };
    let fine = ("security.protocol", "plaintext");
    check(
        &[fine, ("sasl.password", "${env:NO_SUCH_CANARY}")],
        3,
        &["client.properties:2: the environment variable NO_SUCH_CANARY is not set"],
    );
    check(&[fine, ("sasl.pasword", "canary")], 3, &["sasl.pasword"]);
    check(&[("security.protocol", "canary")], 3, &["security.protocol"]);
    check(
        &[("ssl.ca.location", "/canary.pem"), ("security.protocol", "ssl")],
        3,
        &["ssl.ca.location"],
    );
    check(
        &[("group.id", "canary")],
        3,
        &["client.properties:1: group.id can't be set here: give the group with --group"],
    );
    check(
        &[("enable.auto.commit", "true")],
        3,
        &["client.properties:1: enable.auto.commit can't be set here"],
    );
    let scratch = Scratch::new("missing");
    let ended = command(&scratch, "replay", address, "t", &["--out", "archive"]).finish(PATIENCE);
    assert_holds(
        &ended.expect_code(7).stderr,
        &["cannot read client.properties: No such file"],
    );
    fs::write(scratch.join("client.properties"), "# fine\nsasl.password canary\n").expect("a scratch file");
    let ended = command(&scratch, "replay", address, "t", &["--out", "archive"])
        .finish(PATIENCE)
        .expect_code(3);
    assert_holds(&ended.stderr, &["client.properties:2: expected `name=value`"]);
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

/// Counts `topic` as bob, with more options.
#[track_caller]
fn as_bob(topic: &str, options: &[&str]) -> Ended {
    let scratch = Scratch::new("bob");
    let bob = [("sasl.username", "bob"), ("sasl.password", "bob-secret")];
    write_properties(
        &scratch,
        &[sasl("SASL_PLAINTEXT", "SCRAM-SHA-256", ""), bob.to_vec()].concat()[..],
    );
    command(
        &scratch,
        "wordcount",
        &Broker::secure().sasl_plaintext(),
        topic,
        options,
    )
    .finish(PATIENCE)
}

#[test]
fn a_missing_right_is_named_with_what_it_is_missing_for() {
    let broker = Broker::secure();
    let (topic, counts) = (topic("input"), broker.new_topic("output", 1));
    let group = Broker::unique("counting");
    let exactly_once = |name: &str| {
        let out = format!("kafka:{counts}");
        as_bob(&topic, &["--group", name, "--out", &out, "--checkpoint", "state"])
    };
    // Without any right it is a race whether the group or the topic is refused first.
    broker.allow("User:bob", &group);
    let refused = as_bob(&topic, &["--group", &group]).expect_code(4);
    assert_holds(&refused.stderr, &[CANNOT_CONNECT, &topic, "uthorization failed"]);

    broker.allow("User:bob", &topic);
    assert_eq!(as_bob(&topic, &["--group", &group]).expect_code(0).stdout, "word\t3\n");
    let refused = as_bob(&topic, &["--group", "somebody-elses"]).expect_code(4);
    assert_holds(
        &refused.stderr,
        &[CANNOT_CONNECT, "somebody-elses", "uthorization failed"],
    );

    let refused = exactly_once(&group).expect_code(4);
    let advice = "allow Write and Describe on the topic";
    assert_holds(
        &refused.stderr,
        &[CANNOT_CONNECT, &counts, "uthorization failed", advice],
    );

    broker.allow("User:bob", &counts);
    let refused = exactly_once(&group).expect_code(4);
    let transactional_id = format!("millstream-{group}");
    assert_holds(
        &refused.stderr,
        &[CANNOT_CONNECT, &transactional_id, "uthorization failed"],
    );

    broker.allow("User:bob", &transactional_id);
    exactly_once(&group).expect_code(0);
    assert_eq!(broker.consume(&counts, Isolation::ReadCommitted).len(), 1);
}

/// Asserts that no file below `folder` holds one of `secrets`, but for those named `client.properties`.
fn assert_untold(folder: &Path, secrets: &[&str]) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            files += assert_untold(&path, secrets);
        } else if !path.ends_with("client.properties") {
            let bytes = fs::read(&path).expect("a file that was listed");
            for secret in secrets {
                let is_told = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!is_told, "{} holds a secret", path.display());
            }
            files += 1;
        }
    }
    files
}

#[test]
fn a_secret_is_in_no_output_log_checkpoint_or_file() {
    let broker = Broker::secure();
    let ca = ca();
    let canary = "canary-5b1f0c6e";
    // The real password is a canary too. All that librdkafka can tell is asked for.
    let talkative = [sasl("SASL_SSL", "SCRAM-SHA-256", &ca), vec![("debug", "all")]].concat();
    let in_file = [talkative.clone(), ADMIN.to_vec()].concat();
    let in_environment = [talkative.clone(), vec![ADMIN[0], ("sasl.password", "${env:CANARY}")]].concat();
    let counts = broker.new_topic("counts", 1);
    let to_kafka = format!("kafka:{counts}");
    for (settings, environment, out, client, code) in [
        (&in_file, "", "parquet:table", "librdkafka", 0),
        (&in_file, "", "parquet:table", "native", 0),
        (&in_environment, "admin-secret", "parquet:table", "native", 0),
        (&in_environment, "admin-secret", to_kafka.as_str(), "librdkafka", 0),
        (&in_environment, canary, "parquet:table", "native", 4),
    ] {
        let scratch = Scratch::new("canary");
        write_properties(&scratch, settings);
        let group = Broker::unique("canary");
        let options = [
            "-vv",
            "--out",
            out,
            "--checkpoint",
            "state",
            "--group",
            &group,
            "--client",
            client,
        ];
        let run = command(&scratch, "wordcount", &broker.sasl_ssl(), shared_topic(), &options);
        let ended = run.env("CANARY", environment).finish(PATIENCE).expect_code(code);
        assert!(
            client == "native" || ended.stderr.lines().count() > 20,
            "librdkafka's log was asked for:\n{}",
            ended.stderr
        );
        let files = assert_untold(scratch.path(), &["admin-secret", canary]);
        assert!(files >= 4, "outputs, logs and checkpoint were looked at: {files}");
    }
    let told = broker.consume(&counts, Isolation::ReadUncommitted);
    assert!(!told.is_empty() && !format!("{told:?}").contains("secret"));
}
