//! Brokers for tests, on the loopback interface: they keep one topic, and misbehave when they are told to.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::input::{Input, Malformed, TopicId};
use super::output::Output;
use super::testing::TestBatch;

pub(super) const TOPIC: &str = "access";

/// What every request is that the client under test makes.
const WELL_FORMED: &str = "a request as the protocol has it";

/// What a broker does with a fetch instead of answering it as usual.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Answers each partition with an error code.
    Error(i16),
    /// Breaks the connection off in mid-answer.
    Break,
    /// Sends these bytes.
    Garbage(Vec<u8>),
    /// Answers as usual, and wants to be left alone for so long.
    Throttle(Duration),
    /// Sends everyone to another broker.
    Prefer(i32),
    /// Says from which offset on its log is not the one that was read.
    Part(i64),
}

/// A fetch as a broker saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) node: i32,
    pub(super) version: i16,
    pub(super) at: Instant,
    /// Offset and bytes asked for by partition.
    pub(super) wanted: BTreeMap<i32, (i64, i32)>,
}

/// One partition.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) leader: i32,
    pub(super) epoch: i32,
    pub(super) start: i64,
    /// Each batch and the offset after it.
    batches: Vec<(i64, Vec<u8>)>,
}

/// What the brokers have in common, and what they are told to do.
#[derive(Debug)]
pub(super) struct State {
    pub(super) logs: BTreeMap<i32, Log>,
    pub(super) topic_id: TopicId,
    /// Key, oldest and newest version of the requests that are offered.
    pub(super) versions: Vec<(i16, i16, i16)>,
    /// What is done with the next fetches of a broker.
    pub(super) acts: VecDeque<(i32, Act)>,
    pub(super) seen: Vec<Seen>,
    /// Brokers that close every connection.
    pub(super) away: Vec<i32>,
    /// Connections that such brokers closed.
    pub(super) knocks: usize,
    is_over: bool,
    ports: Vec<u16>,
    streams: Vec<(i32, TcpStream)>,
}

/// Brokers with the numbers 0 and up.
pub(super) struct Cluster {
    shared: Arc<(Mutex<State>, Condvar)>,
    threads: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// Starts `brokers` brokers; partition N of the topic is led by broker N.
    pub(super) fn start(brokers: usize) -> Self {
        let listeners: Vec<_> = (0..brokers)
            .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
            .collect();
        let ports = listeners
            .iter()
            .map(|listener| listener.local_addr().expect("it is bound").port());
        let log = |leader| Log {
            leader,
            epoch: 1,
            ..Log::default()
        };
        let state = State {
            logs: (0..).take(brokers).map(|node| (node, log(node))).collect(),
            topic_id: [7; 16],
            versions: vec![(1, 4, 17), (3, 0, 13), (18, 0, 4)],
            acts: VecDeque::new(),
            seen: Vec::new(),
            away: Vec::new(),
            knocks: 0,
            is_over: false,
            ports: ports.collect(),
            streams: Vec::new(),
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let accept = |(node, listener): (i32, TcpListener)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(node, &listener, &shared))
        };
        let threads = (0..).zip(listeners).map(accept).collect();
        Self { shared, threads }
    }

    pub(super) fn bootstrap(&self) -> String {
        let ports = &self.state().ports;
        let addresses: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        addresses.join(",")
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.0)
    }

    /// Changes what the brokers know or do, and wakes fetches that wait.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.shared.1.notify_all();
        changed
    }

    /// Appends a batch with one record a value to a partition.
    pub(super) fn append(&self, partition: i32, values: &[&str]) {
        self.change(|state| {
            let log = state.log(partition);
            let base = log.end();
            let batch = TestBatch::of_values(base, values).encode();
            log.batches
                .push((base + i64::try_from(values.len()).expect("few"), batch));
        });
    }

    /// Appends bytes that stand for so many records.
    pub(super) fn append_raw(&self, partition: i32, records: i64, bytes: Vec<u8>) {
        self.change(|state| {
            let log = state.log(partition);
            log.batches.push((log.end() + records, bytes));
        });
    }

    /// Breaks all connections of a broker.
    pub(super) fn disconnect(&self, node: i32) {
        self.change(|state| state.disconnect(node));
    }
}

impl Log {
    pub(super) fn end(&self) -> i64 {
        self.batches.last().map_or(self.start, |(next, _)| *next)
    }

    fn read(&self, offset: i64, max_bytes: usize) -> Vec<u8> {
        let batches = self.batches.iter().filter(|(next, _)| *next > offset);
        let mut bytes: Vec<u8> = batches.flat_map(|(_, bytes)| bytes).copied().collect();
        bytes.truncate(max_bytes);
        bytes
    }
}

impl State {
    /// Returns a partition that there is.
    pub(super) fn log(&mut self, partition: i32) -> &mut Log {
        self.logs.get_mut(&partition).expect("a partition of the topic")
    }

    fn disconnect(&mut self, node: i32) {
        let is_of_node = |(of, _): &mut (i32, TcpStream)| *of == node;
        for (_, stream) in self.streams.extract_if(.., is_of_node) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let ports = self.change(|state| {
            state.is_over = true;
            let nodes: Vec<i32> = state.streams.iter().map(|(node, _)| *node).collect();
            nodes.into_iter().for_each(|node| state.disconnect(node));
            state.ports.clone()
        });
        // Each listener waits for one more connection.
        ports
            .iter()
            .for_each(|port| drop(TcpStream::connect(("127.0.0.1", *port))));
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(node: i32, listener: &TcpListener, shared: &Arc<(Mutex<State>, Condvar)>) {
    let mut threads = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        let mut state = lock(&shared.0);
        if state.is_over {
            break;
        }
        if state.away.contains(&node) {
            state.knocks += 1;
            continue;
        }
        state
            .streams
            .push((node, stream.try_clone().expect("a socket can be cloned")));
        drop(state);
        let shared = Arc::clone(shared);
        threads.push(thread::spawn(move || {
            // It ends when either side closes.
            let mut serving = Serving { node, stream, shared };
            let _ = serving.serve();
        }));
    }
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

struct Serving {
    node: i32,
    stream: TcpStream,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // The cluster has the stream too.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Serving {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut request = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("64 bits")];
            self.stream.read_exact(&mut request)?;
            let mut header = Input::new(&request, false);
            let (key, version) = (header.i16().expect(WELL_FORMED), header.i16().expect(WELL_FORMED));
            let correlation = header.i32().expect(WELL_FORMED);
            header.nullable_string().expect(WELL_FORMED);
            let flexible = matches!((key, version), (1, 12..) | (3, 9..));
            let mut body = Input::new(&request[header.position()..], flexible);
            body.tags().expect(WELL_FORMED);
            let mut output = Output::default();
            output.start(flexible);
            output.i32(correlation);
            output.tags();
            match key {
                18 => self.versions(&mut output),
                3 => self.metadata(&mut output, version),
                1 => {
                    let wanted = read_fetch(&mut body, version).expect(WELL_FORMED);
                    self.fetch(&mut output, version, wanted)?;
                }
                other => panic!("nobody asked for API {other}"),
            }
            self.stream.write_all(output.finish())?;
        }
    }

    fn versions(&self, output: &mut Output) {
        let state = lock(&self.shared.0);
        output.i16(0);
        output.count(state.versions.len());
        for &(key, oldest, newest) in &state.versions {
            output.i16(key);
            output.i16(oldest);
            output.i16(newest);
        }
    }

    fn metadata(&self, output: &mut Output, version: i16) {
        let state = lock(&self.shared.0);
        output.i32(0);
        output.count(state.ports.len());
        for (node, port) in (0..).zip(&state.ports) {
            output.i32(node);
            output.string("127.0.0.1");
            output.i32(i32::from(*port));
            output.string("");
            output.tags();
        }
        output.string("cluster");
        output.i32(0);
        output.count(1);
        output.i16(0);
        output.string(TOPIC);
        if version >= 10 {
            output.topic_id(&state.topic_id);
        }
        output.bool(false);
        output.count(state.logs.len());
        for (index, log) in &state.logs {
            output.i16(0);
            output.i32(*index);
            output.i32(log.leader);
            output.i32(log.epoch);
            (0..3).for_each(|_| output.count(0));
            output.tags();
        }
        if version >= 8 {
            output.i32(0);
        }
        output.tags();
        if (8..=10).contains(&version) {
            output.i32(0);
        }
        output.tags();
    }

    fn fetch(&mut self, output: &mut Output, version: i16, wanted: Vec<Wanted>) -> io::Result<()> {
        let (mutex, changed) = &*self.shared;
        let mut state = lock(mutex);
        state.seen.push(Seen {
            node: self.node,
            version,
            at: Instant::now(),
            wanted: wanted
                .iter()
                .map(|one| (one.partition, (one.offset, one.max_bytes)))
                .collect(),
        });
        let mine = state.acts.iter().position(|(node, _)| *node == self.node);
        let act = mine.and_then(|place| state.acts.remove(place)).map(|(_, act)| act);
        match &act {
            Some(Act::Break) => {
                self.stream.write_all(&[0, 0, 1, 0, 0])?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Some(Act::Garbage(bytes)) => {
                self.stream.write_all(bytes)?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            _ => {}
        }
        // As a broker does, it waits for half a second for something to say.
        let deadline = Instant::now() + Duration::from_millis(500);
        let mut parts: Vec<_> = wanted.iter().map(|one| self.part(&state, one, act.as_ref())).collect();
        while act.is_none()
            && !state.is_over
            && parts.iter().all(|part| part.error == 0 && part.records.is_empty())
            && Instant::now() < deadline
        {
            let left = deadline.saturating_duration_since(Instant::now());
            state = changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            parts = wanted.iter().map(|one| self.part(&state, one, None)).collect();
        }
        let throttle = match act {
            Some(Act::Throttle(throttle)) => i32::try_from(throttle.as_millis()).expect(WELL_FORMED),
            _ => 0,
        };
        output.i32(throttle);
        output.i16(0);
        output.i32(0);
        output.count(usize::from(!parts.is_empty()));
        if !parts.is_empty() {
            match version <= 12 {
                true => output.string(TOPIC),
                false => output.topic_id(&wanted[0].topic_id),
            }
            output.count(parts.len());
            parts.iter().for_each(|part| part.write(output, version));
            output.tags();
        }
        output.tags();
        Ok(())
    }

    fn part(&self, state: &State, wanted: &Wanted, act: Option<&Act>) -> Part {
        let log = &state.logs[&wanted.partition];
        let mut part = Part {
            partition: wanted.partition,
            error: 0,
            end: log.end(),
            preferred: -1,
            parts_at: None,
            records: Vec::new(),
        };
        let is_replica = state.seen.iter().any(|seen| seen.node != self.node) && log.leader != self.node;
        match act {
            Some(Act::Error(error)) => part.error = *error,
            Some(Act::Prefer(node)) => part.preferred = *node,
            Some(Act::Part(offset)) if wanted.last_epoch >= 0 => part.parts_at = Some(*offset),
            _ if wanted.topic_id != [0; 16] && wanted.topic_id != state.topic_id => part.error = 100,
            _ if log.leader != self.node && !(is_replica && state.logs.len() == 1) => part.error = 6,
            _ if wanted.epoch < log.epoch => part.error = 74,
            _ if wanted.epoch > log.epoch => part.error = 75,
            _ if !(log.start..=log.end()).contains(&wanted.offset) => part.error = 1,
            _ => part.records = log.read(wanted.offset, usize::try_from(wanted.max_bytes).expect(WELL_FORMED)),
        }
        part
    }
}

struct Wanted {
    topic_id: TopicId,
    partition: i32,
    epoch: i32,
    last_epoch: i32,
    offset: i64,
    max_bytes: i32,
}

fn read_fetch(input: &mut Input<'_>, version: i16) -> Result<Vec<Wanted>, Malformed> {
    if version <= 14 {
        input.i32()?;
    }
    for _ in 0..3 {
        input.i32()?;
    }
    input.take(1, "the isolation level")?;
    input.i32()?;
    input.i32()?;
    let mut wanted = Vec::new();
    for _ in 0..input.count(1)? {
        let mut topic_id = [0; 16];
        match version <= 12 {
            true => assert_eq!(input.string()?, TOPIC),
            false => topic_id = input.topic_id()?,
        }
        for _ in 0..input.count(1)? {
            let (partition, epoch, offset) = (input.i32()?, input.i32()?, input.i64()?);
            let last_epoch = if version >= 12 { input.i32()? } else { -1 };
            input.i64()?;
            wanted.push(Wanted {
                topic_id,
                partition,
                epoch,
                last_epoch,
                offset,
                max_bytes: input.i32()?,
            });
            input.tags()?;
        }
        input.tags()?;
    }
    Ok(wanted)
}

struct Part {
    partition: i32,
    error: i16,
    end: i64,
    preferred: i32,
    parts_at: Option<i64>,
    records: Vec<u8>,
}

impl Part {
    fn write(&self, output: &mut Output, version: i16) {
        output.i32(self.partition);
        output.i16(self.error);
        output.i64(self.end);
        output.i64(self.end);
        output.i64(0);
        output.count(0);
        if version >= 11 {
            output.i32(self.preferred);
        }
        output.bytes(&self.records);
        match self.parts_at {
            Some(offset) if version >= 12 => {
                // One tagged field: its number, its length, and an epoch, an offset and no tagged field in it.
                [1, 0, 13].into_iter().for_each(|number| output.varint(number));
                output.i32(2);
                output.i64(offset);
                output.tags();
            }
            _ => output.tags(),
        }
    }
}
