//! A real server that speaks S3, for the tests: one that all share, and a small client of its own for what is in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::leash::Leash;
use super::process::Run;
use super::scratch::{root, sweep, target};
use super::{eventually, ports};

const READY: &str = "Started S3MockApplication";

/// A start takes 6 seconds of an idle machine.
const START_PATIENCE: Duration = Duration::from_secs(180);

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The server. It asks nobody for a password; the name of a bucket is enough.
pub(crate) struct S3 {
    port: u16,
    _server: Child,
    _leash: Leash,
}

/// What a server answers.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: Vec<u8>,
}

/// A bucket of a test's own.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) port: u16,
    pub(crate) name: String,
}

impl S3 {
    /// Returns the server, started by the first caller.
    ///
    /// # Panics
    /// When it can't be started; the message says why.
    #[track_caller]
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<S3, String>> = OnceLock::new();
        SHARED
            .get_or_init(Self::start)
            .as_ref()
            .unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Makes a bucket of a new name.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub(crate) fn new_bucket(&self) -> Bucket {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let bucket = Bucket {
            port: self.port,
            name: format!("test-{}-{number}", std::process::id()),
        };
        let made = request(self.port, "PUT", &format!("/{}", bucket.name), b"");
        assert_eq!(made.status, 200, "{made:?}");
        bucket
    }

    fn start() -> Result<Self, String> {
        let jar = fetch()?;
        let parent = target().join("test-s3");
        sweep(&parent);
        let folder = parent.join(format!(
            "{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir_all(folder.join("tmp"))
            .map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
        let log = folder.join("log");
        let [port] = ports::free();
        let mut command = Command::new("java");
        command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx384m"]);
        command.arg(format!("-Djava.io.tmpdir={}", folder.join("tmp").display()));
        command.args(["-Dserver.address=127.0.0.1", "-Dserver.port=0"]);
        command
            .arg(format!("-Dcom.adobe.testing.s3mock.httpPort={port}"))
            .arg(format!("-Dhttp.port={port}"));
        command.arg("-jar").arg(jar).stdin(Stdio::null());
        let output = || File::create(&log).map_err(|error| format!("cannot create {}: {error}", log.display()));
        command.stdout(output()?).stderr(Stdio::null());
        let mut server = command.spawn().map_err(|error| format!("cannot start java: {error}"))?;
        let leash = Leash::tie(server.id(), Some(&folder));
        let is_ready = eventually(
            START_PATIENCE,
            &format!("the server is ready, see {}", log.display()),
            || {
                let is_over = server.try_wait().expect("a child of this process").is_some();
                let text = fs::read_to_string(&log).unwrap_or_default();
                (text.contains(READY) || is_over).then_some(!is_over)
            },
        );
        match is_ready {
            true => Ok(Self {
                port,
                _server: server,
                _leash: leash,
            }),
            false => Err(format!(
                "the S3 server ended: {}",
                fs::read_to_string(&log).unwrap_or_default()
            )),
        }
    }
}

impl Bucket {
    /// Returns the address of an archive in it.
    pub(crate) fn address(&self, prefix: &str) -> String {
        format!("s3://{}/{prefix}", self.name)
    }

    /// Lets a run find the server, at this port or at that of somebody in between.
    pub(crate) fn settings(&self, run: Run, port: u16) -> Run {
        run.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "canary-key")
            .env("AWS_SECRET_ACCESS_KEY", "canary-secret")
    }

    /// Returns the objects below a prefix, by their names without it, with their content.
    ///
    /// # Panics
    /// When they can't be read.
    #[track_caller]
    pub(crate) fn content(&self, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let names = self.names(prefix);
        let content = |name: &String| (name.clone(), self.get(&format!("{prefix}/{name}")));
        names.iter().map(content).collect()
    }

    /// Returns the names of the objects below a prefix, without it.
    ///
    /// # Panics
    /// When they can't be listed.
    #[track_caller]
    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!(
                "/{}?list-type=2&prefix={prefix}/&start-after={}",
                self.name,
                escaped(&after)
            );
            let listed = request(self.port, "GET", &path, b"");
            assert_eq!(listed.status, 200, "{listed:?}");
            let text = String::from_utf8(listed.body).expect("a list in XML");
            let keys = between(&text, "<Key>", "</Key>");
            after = keys.last().cloned().unwrap_or_default();
            names.extend(
                keys.iter()
                    .filter_map(|key| Some(key.strip_prefix(prefix)?.strip_prefix('/')?.to_owned())),
            );
            if !text.contains("<IsTruncated>true") {
                names.sort();
                return names;
            }
        }
    }

    /// Returns the names and ids of the uploads that were neither completed nor aborted.
    ///
    /// # Panics
    /// When they can't be listed.
    #[track_caller]
    pub(crate) fn uploads(&self) -> Vec<(String, String)> {
        let listed = request(self.port, "GET", &format!("/{}?uploads", self.name), b"");
        assert_eq!(listed.status, 200, "{listed:?}");
        let text = String::from_utf8_lossy(&listed.body);
        let ids = between(&text, "<UploadId>", "</UploadId>");
        between(&text, "<Key>", "</Key>").into_iter().zip(ids).collect()
    }

    /// Returns the names of the uploads that were neither completed nor aborted and have parts, which take room.
    ///
    /// # Panics
    /// When they can't be listed.
    #[track_caller]
    pub(crate) fn parts_left(&self) -> Vec<String> {
        let has_parts = |(name, id): &(String, String)| {
            let path = format!("/{}/{}?uploadId={id}", self.name, escaped(name));
            let listed = request(self.port, "GET", &path, b"");
            assert_eq!(listed.status, 200, "{listed:?}");
            String::from_utf8_lossy(&listed.body).contains("<PartNumber>")
        };
        let left = self.uploads().into_iter().filter(has_parts);
        left.map(|(name, _)| name).collect()
    }

    /// Returns the content of an object.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> Vec<u8> {
        let found = request(self.port, "GET", &format!("/{}/{}", self.name, escaped(name)), b"");
        assert_eq!(found.status, 200, "{name}: {found:?}");
        found.body
    }

    /// Writes an object.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        let put = request(self.port, "PUT", &format!("/{}/{}", self.name, escaped(name)), content);
        assert_eq!(put.status, 200, "{name}: {put:?}");
    }

    /// Removes an object.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub(crate) fn delete(&self, name: &str) {
        let gone = request(self.port, "DELETE", &format!("/{}/{}", self.name, escaped(name)), b"");
        assert_eq!(gone.status, 204, "{name}: {gone:?}");
    }
}

/// Sends one request, and returns the answer. In HTTP/1.0 a body ends with its connection, and has no pieces.
#[track_caller]
fn request(port: u16, method: &str, path: &str, body: &[u8]) -> Answer {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n",
        body.len()
    );
    connection
        .write_all(format!("{head}\r\n").as_bytes())
        .expect("a request");
    connection.write_all(body).expect("a request");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).expect("an answer");
    let end = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status");
    Answer {
        status,
        body: answer.split_off(end + 4),
    }
}

/// Returns a name as a URL has it.
fn escaped(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./~".contains(&byte);
    let escape = |byte: u8| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(escape).collect()
}

fn between(text: &str, start: &str, end: &str) -> Vec<String> {
    let parts = text.split(start).skip(1);
    let inner = parts.filter_map(|part| Some(part.split_once(end)?.0.to_owned()));
    inner.collect()
}

fn fetch() -> Result<PathBuf, String> {
    let folder = target().join("s3-jar");
    let script = root().join("scripts/fetch-s3.sh");
    let output = Command::new(&script).arg(&folder).output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", script.display()))?;
    match output.status.success() {
        true => Ok(folder.join("s3mock-exec.jar")),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
