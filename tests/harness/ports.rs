//! Free ports for servers that the tests start.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::seeded::Seeded;

/// Below the ports that the kernel gives to outgoing connections: a client that keeps trying to reach a stopped broker
/// could otherwise be given the broker's own port, connect to itself and keep the broker from coming back.
const RANGE: Range<u64> = 12_000..32_000;

/// Tries before giving up; with a twentieth of the range in use, one in 20 fails.
const TRIES: usize = 1000;

static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// Returns `N` ports of 127.0.0.1 that nothing listens on and that no other call in this process returned.
///
/// # Panics
/// When there are none.
pub(crate) fn free<const N: usize>() -> [u16; N] {
    let mut random = Seeded::from_entropy();
    std::array::from_fn(|_| free_port(&mut random))
}

fn free_port(random: &mut Seeded) -> u16 {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..TRIES {
        let port = u16::try_from(random.in_range(RANGE)).expect("the range ends below 65536");
        if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.insert(port);
            return port;
        }
    }
    panic!("no free port among {RANGE:?}");
}
