//! A connection to a broker: frames over TCP or TLS, and who we are.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode as Code;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Socket, TcpKeepalive};

use super::super::health::TLS_FAILED;
use super::input::{Input, Malformed};
use super::output::Output;
use super::sasl;
use super::settings::{Endpoint, Family, Settings};
use super::sockets::{Registered, Sockets};
use super::versions::{Api, Versions};

/// An answer's buffer grows by so much at most before its bytes are there: what its length claims is not believed.
const GROWTH: usize = 1 << 20;

/// Of a login that ends, this part is used: the broker closes connections whose login has ended.
const LOGIN_USED: f64 = 0.85;

/// What is said to a broker that does not answer in the protocol.
const HINT: &str = "check the address, and that security.protocol is the listener's";

/// Why a connection can't be made or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The broker is not there, or went away: trying again may help.
    #[error("{0}")]
    Away(String),
    /// The broker does not want us; trying again does not help.
    #[error("{1}")]
    Refused(Code, String),
    /// No TLS with this broker.
    #[error("{failed}: {0}", failed = TLS_FAILED)]
    Tls(String),
    /// The broker needs what is not spoken here.
    #[error("{0}")]
    Unsupported(String),
}

/// What all connections of a reader share.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) settings: Settings,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) sockets: Arc<Sockets>,
}

/// A connection that the broker knows and lets in. Requests are answered in their order.
pub(super) struct Connection {
    stream: Stream,
    /// Host and port, for messages.
    pub(super) address: String,
    versions: Versions,
    client_id: String,
    output: Output,
    next_correlation: i32,
    answer_bytes_max: usize,
    /// When the login should be renewed, by a new connection.
    expires: Option<Instant>,
    _registered: Registered,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    api: Api,
    pub(super) version: i16,
    correlation: i32,
}

impl Network {
    /// Connects to a broker, and says who we are.
    pub(super) fn connect(&self, endpoint: &Endpoint) -> Result<Connection, Failure> {
        let settings = &self.settings;
        let (socket, registered) = self.reach(endpoint)?;
        let stream = TcpStream::from(socket);
        let patience = settings.answer_timeout + Duration::from_millis(settings.fetch.wait_ms.unsigned_abs().into());
        let address = endpoint.to_string();
        let timeouts = stream
            .set_read_timeout(Some(patience))
            .and_then(|()| stream.set_write_timeout(Some(settings.answer_timeout)))
            .and_then(|()| stream.set_nodelay(true));
        timeouts.map_err(|error| away(&address, &error))?;
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(config) => Stream::Tls(Box::new(shake_hands(stream, endpoint, config)?)),
        };
        let mut connection = Connection {
            stream,
            address,
            versions: Versions::unasked(),
            client_id: settings.client_id.clone(),
            output: Output::default(),
            next_correlation: 0,
            answer_bytes_max: settings.answer_bytes_max,
            expires: None,
            _registered: registered,
        };
        let ask = connection.ask(Api::Versions, i16::MAX, |_, _| (), |input, _| Versions::read(input));
        connection.versions = ask?;
        if let Some(sasl) = &settings.sasl {
            let lifetime = sasl::log_in(&mut connection, sasl)?;
            connection.expires = lifetime.map(|lifetime| Instant::now() + lifetime.mul_f64(LOGIN_USED));
        }
        Ok(connection)
    }

    /// Opens a socket to the first address of the broker that answers.
    fn reach(&self, endpoint: &Endpoint) -> Result<(Socket, Registered), Failure> {
        let settings = &self.settings;
        let fits = |address: &std::net::SocketAddr| match settings.family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        let prepare = |socket: &Socket| {
            if settings.keepalive {
                socket.set_tcp_keepalive(&TcpKeepalive::new())?;
            }
            if settings.receive_buffer > 0 {
                socket.set_recv_buffer_size(settings.receive_buffer)?;
            }
            if settings.send_buffer > 0 {
                socket.set_send_buffer_size(settings.send_buffer)?;
            }
            Ok(())
        };
        let addresses = (endpoint.host.as_str(), endpoint.port).to_socket_addrs();
        let addresses = addresses.map_err(|error| away(&endpoint.to_string(), &error))?;
        let mut problem = Failure::Away(format!("{endpoint}: there is no address of that name"));
        for address in addresses.filter(fits) {
            match self.sockets.connect(address, settings.setup_timeout, prepare) {
                Ok(connected) => return Ok(connected),
                Err(error) => problem = away(&endpoint.to_string(), &error),
            }
        }
        Err(problem)
    }
}

fn shake_hands(
    mut stream: TcpStream,
    endpoint: &Endpoint,
    config: &Arc<ClientConfig>,
) -> Result<StreamOwned<ClientConnection, TcpStream>, Failure> {
    let name = ServerName::try_from(endpoint.host.clone());
    let name = name.map_err(|_| Failure::Tls(format!("{} is no name for a certificate", endpoint.host)))?;
    let connection = ClientConnection::new(Arc::clone(config), name);
    let mut connection = connection.map_err(|error| Failure::Tls(error.to_string()))?;
    while connection.is_handshaking() {
        connection
            .complete_io(&mut stream)
            .map_err(|error| tls_failure(endpoint, &error))?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// Tells a broker that went away from one with which there is no TLS.
fn tls_failure(endpoint: &Endpoint, error: &io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => Failure::Tls(format!("{endpoint}: {error}; {HINT}")),
        Some(inner) => Failure::Tls(format!("{endpoint}: {inner}")),
        None => away(&endpoint.to_string(), error),
    }
}

fn away(address: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::Away(format!("{address}: no answer in time")),
        io::ErrorKind::UnexpectedEof => Failure::Away(format!("{address}: the broker closed the connection")),
        _ => Failure::Away(format!("{address}: {error}")),
    }
}

impl Connection {
    /// Returns the version in which a request is made, at most `limit`.
    pub(super) fn version(&self, api: Api, limit: i16) -> Result<i16, Failure> {
        let chosen = self.versions.choose(api, limit);
        chosen.map_err(|problem| Failure::Unsupported(format!("{}: {problem}", self.address)))
    }

    /// Returns whether the login ends soon.
    pub(super) fn is_expired(&self) -> bool {
        self.expires.is_some_and(|expires| Instant::now() >= expires)
    }

    /// Sends a request whose body `write` writes.
    pub(super) fn send(&mut self, api: Api, limit: i16, write: impl FnOnce(&mut Output, i16)) -> Result<Sent, Failure> {
        let version = self.version(api, limit)?;
        let correlation = self.next_correlation;
        self.next_correlation = self.next_correlation.wrapping_add(1);
        self.output.start(api.is_flexible(version));
        self.output.header(api.key(), version, correlation, &self.client_id);
        write(&mut self.output, version);
        let sent = self.stream.write_all(self.output.finish());
        sent.map_err(|error| away(&self.address, &error))?;
        Ok(Sent {
            api,
            version,
            correlation,
        })
    }

    /// Waits for the answer to `sent`, the oldest request without one, and returns its length. It is at the start of
    /// `buffer`, which only grows; its fields start at the returned input's position.
    pub(super) fn receive<'b>(&mut self, sent: Sent, buffer: &'b mut Vec<u8>) -> Result<Input<'b>, Failure> {
        let mut length = [0; 4];
        self.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).ok();
        let Some(length) = length.filter(|length| *length <= self.answer_bytes_max) else {
            let problem = format!(
                "{}: the answer to {} is longer than receive.message.max.bytes, {}; {HINT}",
                self.address,
                sent.api.name(),
                self.answer_bytes_max
            );
            return Err(Failure::Away(problem));
        };
        let mut filled = 0;
        while filled < length {
            let end = length.min(filled + GROWTH);
            if buffer.len() < end {
                buffer.resize(end, 0);
            }
            let end = length.min(buffer.len());
            self.read_exact(&mut buffer[filled..end])?;
            filled = end;
        }
        let mut input = Input::new(&buffer[..length], sent.api.is_flexible(sent.version));
        let correlation = input.i32().map_err(|problem| self.malformed(sent, problem))?;
        if correlation != sent.correlation {
            return Err(Failure::Away(format!(
                "{}: expected the answer to request {}, not to {correlation}; {HINT}",
                self.address, sent.correlation
            )));
        }
        input.tags().map_err(|problem| self.malformed(sent, problem))?;
        Ok(input)
    }

    /// Sends a request and reads its answer.
    pub(super) fn ask<T>(
        &mut self,
        api: Api,
        limit: i16,
        write: impl FnOnce(&mut Output, i16),
        read: impl FnOnce(&mut Input<'_>, i16) -> Result<T, Malformed>,
    ) -> Result<T, Failure> {
        let sent = self.send(api, limit, write)?;
        let mut buffer = Vec::new();
        let mut input = self.receive(sent, &mut buffer)?;
        read(&mut input, sent.version).map_err(|problem| self.malformed(sent, problem))
    }

    /// Returns the failure of an answer that is none.
    pub(super) fn malformed(&self, sent: Sent, problem: Malformed) -> Failure {
        let (api, version) = (sent.api.name(), sent.version);
        Failure::Away(format!("{}: {api} version {version}: {problem}", self.address))
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), Failure> {
        let read = self.stream.read_exact(bytes);
        read.map_err(|error| match &self.stream {
            Stream::Plain(_) => away(&self.address, &error),
            // In TLS 1.3 the broker looks at our certificate after the handshake is done for us.
            Stream::Tls(_) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(inner) => Failure::Tls(format!("{}: {inner}", self.address)),
                None => away(&self.address, &error),
            },
        })
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(bytes),
            Self::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
