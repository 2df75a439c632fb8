//! The open sockets of a reader, so that whoever stops it can wake the threads that wait for an answer.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// The sockets that are open; empty for ever once it is closed.
#[derive(Debug, Default)]
pub(super) struct Sockets(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    closed: bool,
    next: u64,
    open: HashMap<u64, Socket>,
}

/// An entry among the open sockets, until it is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    sockets: Arc<Sockets>,
    number: u64,
}

impl Sockets {
    /// Shuts all sockets down, those under way too, and lets no new one be opened.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        for socket in state.open.values() {
            // It may be shut down already; its thread notices either way.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Connects to an address. `close` ends the wait for that too.
    ///
    /// # Errors
    /// When the address does not answer within `timeout`, or the sockets are closed.
    pub(super) fn connect(
        self: &Arc<Self>,
        address: SocketAddr,
        timeout: Duration,
        prepare: impl Fn(&Socket) -> io::Result<()>,
    ) -> io::Result<(Socket, Registered)> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        prepare(&socket)?;
        let registered = self.register(socket.try_clone()?)?;
        socket.connect_timeout(&SockAddr::from(address), timeout)?;
        // One that was closed while it had no peer is none of the open ones.
        match self.is_closed() {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok((socket, registered)),
        }
    }

    fn register(self: &Arc<Self>, socket: Socket) -> io::Result<Registered> {
        let mut state = self.lock();
        if state.closed {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let number = state.next;
        state.next += 1;
        state.open.insert(number, socket);
        let sockets = Arc::clone(self);
        Ok(Registered { sockets, number })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sockets.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn closing_wakes_a_thread_that_waits_for_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let sockets = Arc::new(Sockets::default());
        let (socket, registered) = sockets.connect(address, SOON, |_| Ok(())).expect("it listens");
        let _peer = listener.accept().expect("it was connected to");
        let waiting = thread::spawn(move || {
            let _registered = registered;
            TcpStream::from(socket).read(&mut [0])
        });
        sockets.close();
        let read = waiting.join().expect("the thread ends").expect("an end is no error");
        assert_eq!(read, 0);
        assert!(sockets.lock().open.is_empty(), "its end takes the entry away");
        let late = sockets.connect(address, SOON, |_| Ok(()));
        assert_eq!(
            late.map(drop).expect_err("closed").kind(),
            io::ErrorKind::ConnectionAborted
        );
    }
}
