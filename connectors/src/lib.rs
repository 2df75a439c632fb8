//! What Millstream reads and writes. Transports do not import each other; encoders import no transport.

pub mod kafka;
