//! Somebody between the program and the server, who does to requests what networks and busy servers do.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::harness::seeded::Seeded;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    List,
    Get,
    /// A whole object, on a condition.
    Put,
    BeginUpload,
    Part,
    CompleteUpload,
    Remove,
    Other,
}

/// What is done to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// 500, and the request does not arrive.
    Failure,
    /// 429, in the same way.
    TooMany,
    /// 403, in the same way.
    Forbidden,
    /// The request arrives, and its answer never comes.
    Stall,
    /// The request arrives, and the connection breaks instead of an answer.
    LostAnswer,
    /// The connection breaks before the request arrives.
    Reset,
    /// The answer breaks off in the middle of its body.
    CutAnswer,
}

/// The faults that pass.
pub(super) const PASSING: [Fault; 6] = [
    Fault::Failure,
    Fault::TooMany,
    Fault::Stall,
    Fault::LostAnswer,
    Fault::Reset,
    Fault::CutAnswer,
];

/// What is to be done to the requests of each kind, and what was done.
#[derive(Debug, Default)]
struct Plan {
    /// Requests so far.
    seen: BTreeMap<Kind, usize>,
    done: BTreeMap<(Kind, Fault), usize>,
}

/// Somebody between: listens until it is dropped.
pub(super) struct Between {
    pub(super) port: u16,
    plan: Arc<Mutex<Plan>>,
    is_over: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Between {
    /// Lets each second request of a kind suffer one of `faults`, each of them once, in an order of their own for each kind;
    /// all later requests pass.
    pub(super) fn disturbing(server: u16, faults: &'static [Fault]) -> Self {
        let mut random = Seeded::new();
        let turn = random.next();
        Self::start(server, move |kind, number| {
            let place = usize::try_from(turn % 64).expect("a small number") + kind as usize;
            let is_next = number % 2 == 1 && number / 2 < faults.len();
            is_next.then(|| faults[(number / 2 + place) % faults.len()])
        })
    }

    /// Answers all requests with 403.
    pub(super) fn forbidding(server: u16) -> Self {
        Self::start(server, |_, _| Some(Fault::Forbidden))
    }

    /// Returns how often each fault was done to each kind of request.
    pub(super) fn done(&self) -> BTreeMap<(Kind, Fault), usize> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).done.clone()
    }

    fn start(server: u16, choose: impl Fn(Kind, usize) -> Option<Fault> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (plan, is_over) = (Arc::<Mutex<Plan>>::default(), Arc::<AtomicBool>::default());
        let (noted, ended, choose) = (Arc::clone(&plan), Arc::clone(&is_over), Arc::new(choose));
        let listening = thread::spawn(move || {
            for connection in listener.incoming() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(connection), plan, choose) = (connection, Arc::clone(&noted), Arc::clone(&choose)) else {
                    continue;
                };
                // A client that went away is nobody's trouble.
                thread::spawn(move || serve(connection, server, &plan, &*choose));
            }
        });
        Self {
            port,
            plan,
            is_over,
            listening: Some(listening),
        }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Wakes the listener up.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

/// Serves one request: each connection has one.
fn serve(
    mut client: TcpStream,
    server: u16,
    plan: &Mutex<Plan>,
    choose: &dyn Fn(Kind, usize) -> Option<Fault>,
) -> Option<()> {
    let (head, body) = read_request(&mut client)?;
    let kind = kind(&head);
    let fault = {
        let mut plan = plan.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = plan.seen.entry(kind).or_default();
        let fault = choose(kind, *seen);
        *seen += 1;
        if let Some(fault) = fault {
            *plan.done.entry((kind, fault)).or_default() += 1;
        }
        fault
    };
    match fault {
        Some(Fault::Failure) => refuse(&mut client, "500 Internal Server Error", ""),
        Some(Fault::TooMany) => refuse(&mut client, "429 Too Many Requests", "Retry-After: 1\r\n"),
        Some(Fault::Forbidden) => refuse(&mut client, "403 Forbidden", ""),
        Some(Fault::Reset) => client.shutdown(Shutdown::Both).ok(),
        Some(Fault::Stall) => {
            answer(server, &head, &body)?;
            // Until the program gives the connection up.
            client.read(&mut [0]).ok().map(drop)
        }
        Some(Fault::LostAnswer) => {
            answer(server, &head, &body)?;
            client.shutdown(Shutdown::Both).ok()
        }
        Some(Fault::CutAnswer) => {
            let bytes = answer(server, &head, &body)?;
            let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
            // At least the last byte is missing, be it of the body or of the head.
            let kept = end.min(bytes.len() - 1) + (bytes.len() - end.min(bytes.len())) / 2;
            client.write_all(&bytes[..kept]).ok()
        }
        None => {
            let bytes = answer(server, &head, &body)?;
            client.write_all(&bytes).ok()
        }
    }
}

fn refuse(client: &mut TcpStream, status: &str, headers: &str) -> Option<()> {
    let body = "<Error><Code>Injected</Code><Message>by the test</Message></Error>";
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    client.write_all(text.as_bytes()).ok()
}

/// Returns what kind of request a head is of.
fn kind(head: &str) -> Kind {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let has = |key: &str| {
        path.split(['?', '&'])
            .skip(1)
            .any(|pair| pair.split('=').next() == Some(key))
    };
    match method {
        "GET" if has("list-type") => Kind::List,
        "GET" => Kind::Get,
        "PUT" if has("partNumber") => Kind::Part,
        "PUT" => Kind::Put,
        "POST" if has("uploads") => Kind::BeginUpload,
        "POST" if has("uploadId") => Kind::CompleteUpload,
        "POST" if has("delete") => Kind::Remove,
        "DELETE" => Kind::Remove,
        _ => Kind::Other,
    }
}

fn read_request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 65536]);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        match client.read(&mut piece).ok()? {
            0 => return None,
            count => bytes.extend_from_slice(&piece[..count]),
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.unwrap_or(0);
    while body.len() < length {
        match client.read(&mut piece).ok()? {
            0 => return None,
            count => body.extend_from_slice(&piece[..count]),
        }
    }
    Some((head, body))
}

/// Sends a request on, as the only one of its connection, and returns the whole answer.
fn answer(server: u16, head: &str, body: &[u8]) -> Option<Vec<u8>> {
    let is_kept = |line: &&str| !line.is_empty() && !line.to_ascii_lowercase().starts_with("connection:");
    let lines: Vec<_> = head.split("\r\n").filter(is_kept).collect();
    let head = lines.join("\r\n") + "\r\nConnection: close\r\n\r\n";
    let mut upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).ok()?;
    upstream.write_all(head.as_bytes()).ok()?;
    upstream.write_all(body).ok()?;
    let mut bytes = Vec::new();
    upstream.read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
