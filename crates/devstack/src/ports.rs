//! Free ports, held until just before a server binds them.
//!
//! They come from below the range that the kernel uses for outgoing connections: inside it, a client that keeps
//! connecting to the port of a killed server can end up connected to itself, and the restarted server cannot bind.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

const LOWEST: u16 = 15_000;
/// The default of Linux.
const OUTGOING_RANGE_START: u16 = 32_768;

/// Ports that no other process can bind as long as this value lives.
pub(crate) struct Reserved {
    listeners: Vec<TcpListener>,
    /// Their numbers.
    pub(crate) ports: Vec<u16>,
}

impl Reserved {
    /// Frees the ports for the server that is started next.
    pub(crate) fn release(self) -> Vec<u16> {
        drop(self.listeners);
        self.ports
    }
}

/// Reserves ports on 127.0.0.1.
pub(crate) fn reserve(count: usize) -> io::Result<Reserved> {
    let listeners = (0..count).map(|_| listen()).collect::<io::Result<Vec<_>>>()?;
    let port = |listener: &TcpListener| Ok(listener.local_addr()?.port());
    let ports = listeners.iter().map(port).collect::<io::Result<_>>()?;
    Ok(Reserved { listeners, ports })
}

/// Whether one of these ports is in use.
pub(crate) fn any_taken(ports: &[u16]) -> bool {
    ports.iter().any(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err())
}

fn listen() -> io::Result<TcpListener> {
    for _ in 0..200 {
        let port = fastrand::u16(LOWEST..outgoing_range_start());
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener);
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

fn outgoing_range_start() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let start = range.split_whitespace().next().and_then(|start| start.parse().ok());
    start.filter(|&start| start > LOWEST + 1000).unwrap_or(OUTGOING_RANGE_START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_taken_until_it_is_released() {
        let reserved = reserve(3).unwrap();
        let [first, second, third] = reserved.ports[..] else { panic!("three ports") };
        assert!(first != second && second != third && first != third);
        assert!(any_taken(&[second]));
        reserved.release();
        assert!(!any_taken(&[first, second, third]));
    }
}
