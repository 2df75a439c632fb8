//! A real Apache Kafka broker (one KRaft node) for the tests: one that all share, and others of a test's own.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::leash::Leash;
use super::records::BackgroundProducer;
use super::scratch::{root, sweep, target};
use super::{PATIENCE, eventually, jvm, ports, process};

/// Points the tests at a running broker, which must let clients delete topics and create them with any setting.
const EXTERNAL: &str = "KAFKA_BOOTSTRAP_SERVERS";

/// Any 16 bytes in URL-safe base64; a fixed one saves the start of a virtual machine that would make one up.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

const READY: &str = "Kafka Server started";

/// What the broker says when somebody took its port between our look and its start.
const PORT_TAKEN: &str = "Address already in use";

/// A start takes 4 seconds of an idle machine.
const START_PATIENCE: Duration = Duration::from_secs(180);

/// Starts with other ports before giving up.
const STARTS_MAX: usize = 3;

/// The users of [`Broker::secure`]; the password of NAME is `NAME-secret`. `admin` may do everything.
pub(crate) const USERS: [&str; 3] = ["admin", "alice", "bob"];

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A broker. Dropping it kills it and removes its data; a failed test's broker leaves its log.
pub(crate) struct Broker {
    bootstrap: String,
    pub(super) idle_producers: Mutex<Vec<BackgroundProducer>>,
    /// Replicas of a new topic.
    pub(super) replicas: i32,
    /// `None`: somebody else's broker.
    node: Option<Node>,
}

#[derive(Debug)]
struct Node {
    folder: PathBuf,
    ports: [u16; 5],
    kind: Kind,
    /// 1 is the controller too.
    number: i32,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    jvm: Child,
    leash: Leash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Secure,
    /// One broker of several, which has no controller.
    Member,
}

/// How a start failed.
enum StartError {
    PortTaken,
    Other(String),
}

impl Broker {
    /// Returns the broker that all tests share, started by the first caller; or the one at `KAFKA_BOOTSTRAP_SERVERS`.
    ///
    /// # Panics
    /// When it can't be started; the message says why.
    #[track_caller]
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Broker, String>> = OnceLock::new();
        let start = || match std::env::var(EXTERNAL) {
            Ok(bootstrap) => Ok(Self::new(bootstrap, None)),
            Err(_) => Self::start(Kind::Plain),
        };
        SHARED
            .get_or_init(start)
            .as_ref()
            .unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Starts a broker for one test, which may kill it.
    ///
    /// # Panics
    /// When it can't be started; the message says why.
    #[track_caller]
    pub(crate) fn own() -> Self {
        Self::start(Kind::Plain).unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Returns a broker with SASL and TLS listeners and ACLs, shared, started by the first caller.
    ///
    /// [`Self::bootstrap`] is a plain-text listener at which everybody may do everything. At the others, users need an
    /// ACL ([`Self::allow`]); the client certificate's user is `CN=client`.
    ///
    /// # Panics
    /// When it can't be started; the message says why.
    #[track_caller]
    pub(crate) fn secure() -> &'static Self {
        static SECURE: OnceLock<Result<Broker, String>> = OnceLock::new();
        let start = || Self::start(Kind::Secure);
        SECURE
            .get_or_init(start)
            .as_ref()
            .unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Returns the plain-text address, `host:port`.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Returns the SASL_PLAINTEXT address: PLAIN (alice, bob), SCRAM-SHA-256 and SCRAM-SHA-512 (all of [`USERS`]).
    pub(crate) fn sasl_plaintext(&self) -> String {
        self.secure_address(2)
    }

    /// Returns the address that asks clients for a certificate.
    pub(crate) fn mutual_tls(&self) -> String {
        self.secure_address(3)
    }

    /// Returns the SASL_SSL address: SCRAM over TLS.
    pub(crate) fn sasl_ssl(&self) -> String {
        self.secure_address(4)
    }

    /// Returns the path of a PEM file of the secure broker: `ca.pem`, `client.pem`, `client.key`.
    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        let path = self.node().folder.join("certs").join(name);
        assert!(path.exists(), "{} exists on a secure broker", path.display());
        path
    }

    /// Lets `principal` (`User:alice`, `User:CN=client`) do everything with topics, groups and transactional ids whose
    /// names start with `prefix`.
    #[track_caller]
    pub(crate) fn allow(&self, principal: &str, prefix: &str) {
        let mut arguments = vec!["--bootstrap-server", &self.bootstrap, "--add", "--operation", "All"];
        arguments.extend(["--allow-principal", principal, "--resource-pattern-type", "prefixed"]);
        for resource in ["--topic", "--group", "--transactional-id"] {
            arguments.extend([resource, prefix]);
        }
        jvm::run_tool("org.apache.kafka.tools.AclCommand", &arguments);
    }

    /// Kills the broker, as a power cut would; clients see the connection break.
    #[track_caller]
    pub(crate) fn kill(&self) {
        let mut running = self.running().take().expect("the broker runs");
        running.jvm.kill().expect("the broker is a child of this process");
        running.wait();
    }

    /// Stops the broker in an orderly way.
    #[track_caller]
    pub(crate) fn stop(&self) {
        let mut running = self.running().take().expect("the broker runs");
        process::signal(running.jvm.id(), "TERM");
        eventually(PATIENCE, "the broker stops", || {
            running.jvm.try_wait().expect("a child of this process")
        });
        running.wait();
    }

    /// Starts the broker again, with its ports and its data, after [`Self::kill`] or [`Self::stop`].
    #[track_caller]
    pub(crate) fn restart(&self) {
        let mut running = self.running();
        assert!(running.is_none(), "the broker is down");
        match self.node().launch() {
            Ok(started) => *running = Some(started),
            Err(StartError::PortTaken) => panic!("somebody took the port of {}", self.bootstrap),
            Err(StartError::Other(problem)) => panic!("{problem}"),
        }
    }

    /// Freezes the broker: connections stay open, nothing is answered.
    #[track_caller]
    pub(crate) fn freeze(&self) {
        process::signal(self.running().as_ref().expect("the broker runs").jvm.id(), "STOP");
    }

    /// Ends [`Self::freeze`].
    #[track_caller]
    pub(crate) fn thaw(&self) {
        process::signal(self.running().as_ref().expect("the broker runs").jvm.id(), "CONT");
    }

    fn new(bootstrap: String, node: Option<Node>) -> Self {
        Self {
            bootstrap,
            idle_producers: Mutex::default(),
            replicas: 1,
            node,
        }
    }

    /// Starts three brokers of one cluster, whose topics have three replicas. The first is the controller too; the other
    /// two may be killed. Returns the cluster as a whole, for clients, and its brokers.
    ///
    /// # Panics
    /// When they can't be started; the message says why.
    #[track_caller]
    pub(crate) fn cluster() -> (Self, [Self; 3]) {
        let first = Self::own();
        let controller = first.node().ports[1];
        let member = |number| Self::start_node(Kind::Member, number, Some(controller));
        let member = |number| member(number).unwrap_or_else(|problem| panic!("{problem}"));
        let brokers = [first, member(2), member(3)];
        let addresses: Vec<_> = brokers.iter().map(Self::bootstrap).collect();
        let mut whole = Self::new(addresses.join(","), None);
        whole.replicas = 3;
        (whole, brokers)
    }

    fn start(kind: Kind) -> Result<Self, String> {
        Self::start_node(kind, 1, None)
    }

    fn start_node(kind: Kind, number: i32, controller: Option<u16>) -> Result<Self, String> {
        for _ in 0..STARTS_MAX {
            let node = Node::prepare(kind, number, controller)?;
            match node.launch() {
                Ok(running) => *node.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running),
                Err(StartError::PortTaken) => continue,
                Err(StartError::Other(problem)) => return Err(problem),
            }
            let bootstrap = format!("127.0.0.1:{}", node.ports[0]);
            return Ok(Self::new(bootstrap, Some(node)));
        }
        Err(format!("the ports of the test broker were taken {STARTS_MAX} times"))
    }

    fn node(&self) -> &Node {
        self.node
            .as_ref()
            .expect("a broker that the tests started, not the one at KAFKA_BOOTSTRAP_SERVERS")
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.node().running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn secure_address(&self, port: usize) -> String {
        assert_eq!(
            self.node().kind,
            Kind::Secure,
            "only the secure broker has this listener"
        );
        // The name that the broker's certificate has, beside 127.0.0.1.
        format!("localhost:{}", self.node().ports[port])
    }
}

impl Node {
    /// Chooses a folder and ports, but for the one of a controller that is there, and formats the storage.
    fn prepare(kind: Kind, number: i32, controller: Option<u16>) -> Result<Self, String> {
        let parent = target().join("test-broker");
        sweep(&parent);
        let folder = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut ports: [u16; 5] = ports::free();
        ports[1] = controller.unwrap_or(ports[1]);
        let node = Self {
            folder: parent.join(format!("{}-{folder}", std::process::id())),
            ports,
            kind,
            number,
            running: Mutex::new(None),
        };
        create_folder(&node.folder)?;
        if kind == Kind::Secure {
            let mut script = Command::new(root().join("tests/broker/gen-certs.sh"));
            run(script.arg(node.folder.join("certs")), "make certificates with openssl")?;
        }
        fs::write(node.properties(), node.settings())
            .map_err(|error| format!("cannot write the broker's settings: {error}"))?;
        node.format()?;
        Ok(node)
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn settings(&self) -> String {
        let listeners = match self.kind {
            Kind::Plain => include_str!("../broker/plain.properties.in"),
            Kind::Secure => include_str!("../broker/secure.properties.in"),
            Kind::Member => include_str!("../broker/member.properties.in"),
        };
        let roles = match self.kind {
            Kind::Plain | Kind::Secure => "broker,controller",
            Kind::Member => "broker",
        };
        let mut settings = format!("{}\n{listeners}", include_str!("../broker/common.properties.in"));
        let names = [
            "@PORT@",
            "@CONTROLLER_PORT@",
            "@SASL_PORT@",
            "@MTLS_PORT@",
            "@SASL_SSL_PORT@",
        ];
        for (name, port) in names.into_iter().zip(self.ports) {
            settings = settings.replace(name, &port.to_string());
        }
        let folder = self.folder.to_str().expect("cargo's target folder has a UTF-8 name");
        settings
            .replace("@ROLES@", roles)
            .replace("@NODE@", &self.number.to_string())
            .replace("@DATA@", &format!("{folder}/data"))
            .replace("@CERTS@", &format!("{folder}/certs"))
    }

    fn format(&self) -> Result<(), String> {
        let options = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dkafka.loglevel=WARN"];
        let mut tool = jvm::java(&options, "kafka.tools.StorageTool");
        tool.args(["format", "-t", CLUSTER_ID, "-c"]).arg(self.properties());
        if self.kind == Kind::Secure {
            for (user, mechanism) in USERS
                .iter()
                .flat_map(|user| [(user, "SCRAM-SHA-256"), (user, "SCRAM-SHA-512")])
            {
                tool.arg("--add-scram")
                    .arg(format!("{mechanism}=[name={user},password={user}-secret]"));
            }
        }
        run(&mut tool, "format the test broker's storage")
    }

    /// Starts the broker and waits until it is ready.
    fn launch(&self) -> Result<Running, StartError> {
        let log = self.folder.join("broker.log");
        let other = |error| StartError::Other(format!("cannot write {}: {error}", log.display()));
        let output = OpenOptions::new().create(true).append(true).open(&log).map_err(other)?;
        let seen = usize::try_from(output.metadata().map_err(other)?.len()).expect("a log that fits in memory");
        let mut running = self.spawn(output)?;
        // Ready, or the reason why it ended.
        let outcome = eventually(
            START_PATIENCE,
            &format!("the broker starts, see {}", log.display()),
            || {
                let text = fs::read(&log).unwrap_or_default();
                let text = String::from_utf8_lossy(text.get(seen..)?).into_owned();
                if text.contains(READY) {
                    return Some(Ok(()));
                }
                running.jvm.try_wait().ok().flatten().map(|status| Err((status, text)))
            },
        );
        let Err((status, text)) = outcome else {
            return Ok(running);
        };
        running.wait();
        if text.contains(PORT_TAKEN) {
            return Err(StartError::PortTaken);
        }
        Err(StartError::Other(format!(
            "the test broker ended at its start ({status}):\n{text}"
        )))
    }

    fn spawn(&self, output: File) -> Result<Running, StartError> {
        let other = |error| StartError::Other(format!("cannot start the test broker: {error}"));
        let errors = output.try_clone().map_err(other)?;
        let mut server = jvm::java(&["-Xmx512m", "-Xms128m"], "kafka.Kafka");
        server.arg(self.properties()).stdout(output).stderr(errors);
        // A Ctrl-C is for the tests; the broker goes when they are gone.
        std::os::unix::process::CommandExt::process_group(&mut server, 0);
        let jvm = server.spawn().map_err(other)?;
        let leash = Leash::tie(jvm.id(), Some(&self.folder.join("data")));
        Ok(Running { jvm, leash })
    }
}

impl Running {
    fn wait(mut self) {
        self.leash.untie();
        self.jvm.wait().expect("the broker is a child of this process");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let Some(node) = &self.node else {
            return;
        };
        if let Some(mut running) = self.running().take() {
            let _ = running.jvm.kill();
            running.wait();
        }
        // What can't be removed now is swept by the next run.
        let _ = fs::remove_dir_all(node.folder.join("data"));
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&node.folder);
        }
    }
}

fn create_folder(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))
}

/// Runs a program to its end; its output is shown only when it fails.
fn run(command: &mut Command, act: &str) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot {act}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Err(format!("cannot {act} ({}):\n{stdout}\n{stderr}", output.status))
}
