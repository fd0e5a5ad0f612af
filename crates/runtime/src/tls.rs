//! What is wrong with a TLS connection, in words that say what to mend.
//!
//! rustls says which name, date or CA a certificate has, and which one was expected. OpenSSL, which librdkafka uses, only
//! says that it does not accept the certificate: after such an error [`handshake`] repeats the connection with rustls.
use std::{
    error::Error,
    io,
    net::{TcpStream, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, RootCertStore,
    pki_types::{ServerName, UnixTime},
};

use crate::config::{Tls, TlsKeys};

/// The problem of a server's or a client's certificate behind an error; none when the error has another cause.
pub fn explain(error: &(dyn Error + 'static), keys: &TlsKeys) -> Option<String> {
    let mut error = Some(error);
    while let Some(current) = error {
        if let Some(found) = current.downcast_ref() {
            return Some(problem(found, keys));
        }
        // An I/O error hides the error that it holds from `source`.
        let held = current.downcast_ref().and_then(io::Error::get_ref);
        error = match held {
            Some(held) => Some(held),
            None => current.source(),
        };
    }
    None
}

fn problem(error: &rustls::Error, keys: &TlsKeys) -> String {
    let TlsKeys { address, ca, certificate, key } = keys;
    match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::UnknownIssuer => {
                format!(
                    "no trusted CA has signed its certificate: set {ca} to a PEM file with the CA that signed it"
                )
            }
            CertificateError::ExpiredContext { not_after, .. } => {
                format!("its certificate has expired at {}: renew the server's certificate", date(*not_after))
            }
            CertificateError::NotValidYetContext { not_before, .. } => format!(
                "its certificate is valid from {} only: check the clock of this machine",
                date(*not_before)
            ),
            CertificateError::NotValidForNameContext { expected, presented } => format!(
                "its certificate is for {}, not for {}: use such a name in {address}, or add {} to the certificate",
                presented.join(", "),
                expected.to_str(),
                expected.to_str()
            ),
            other => format!("its certificate is not valid: {other}"),
        },
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            format!("it requires a certificate of the client: set {certificate} and {key}")
        }
        rustls::Error::AlertReceived(alert) => format!(
            "it does not accept the certificate of the client or the connection (TLS alert {alert:?}): check {certificate}"
        ),
        rustls::Error::InvalidMessage(_) => {
            format!(
                "it does not speak TLS at this port: check {address} and whether the connection is meant to have TLS"
            )
        }
        other => format!("TLS: {other}"),
    }
}

fn date(time: UnixTime) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string())
}

/// Connects to `host:port`, and returns after the TLS handshake. Without `verify_hostname` a certificate for another host
/// is not an error.
///
/// # Errors
/// The error of the connection or of the handshake; [`explain`] finds the problem in it.
pub fn handshake(tls: &Tls, verify_hostname: bool, address: &str, timeout: Duration) -> io::Result<()> {
    // rustls compares the name last: everything else in the certificate is right then.
    match connect(tls.client(), address, timeout) {
        Err(error) if !verify_hostname && is_for_another_host(&error) => Ok(()),
        result => result,
    }
}

fn is_for_another_host(error: &io::Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    let inner = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })))
}

/// Whether the server at `host:port` answers with a certificate.
pub fn speaks_tls(address: &str, timeout: Duration) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let Ok(builder) = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
    else {
        return false;
    };
    let trusts_nobody = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let refused = connect(&Arc::new(trusts_nobody), address, timeout).err();
    let refused = refused.and_then(|error| error.into_inner()).and_then(|error| error.downcast().ok());
    matches!(refused.as_deref(), Some(rustls::Error::InvalidCertificate(_)))
}

fn connect(client: &Arc<ClientConfig>, address: &str, timeout: Duration) -> io::Result<()> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let resolved =
        address.to_socket_addrs()?.next().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let mut socket = TcpStream::connect_timeout(&resolved, timeout)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.set_write_timeout(Some(timeout))?;
    let mut connection = ClientConnection::new(Arc::clone(client), name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KAFKA_TLS;

    #[test]
    fn a_problem_of_a_certificate_is_found_behind_other_errors_and_says_what_to_mend() {
        let expired = CertificateError::ExpiredContext {
            time: UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000)),
            not_after: UnixTime::since_unix_epoch(Duration::from_secs(1_600_000_000)),
        };
        let name = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("127.0.0.1").unwrap(),
            presented: vec!["DnsName(\"kafka.example\")".into()],
        };
        for (error, expected) in [
            (rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer), "set kafka.ssl.ca_file"),
            (rustls::Error::InvalidCertificate(expired), "expired at 2020-09-13T12:26:40Z"),
            (rustls::Error::InvalidCertificate(name), "not for 127.0.0.1: use such a name in kafka.brokers"),
            (
                rustls::Error::AlertReceived(AlertDescription::CertificateRequired),
                "set kafka.ssl.certificate_file and kafka.ssl.key_file",
            ),
        ] {
            let error = io::Error::other(io::Error::other(error));
            let found = explain(&error, &KAFKA_TLS).unwrap();
            assert!(found.contains(expected), "{found}");
        }
        assert_eq!(explain(&io::Error::other("refused"), &KAFKA_TLS), None);
    }

    #[test]
    fn only_a_certificate_for_another_host_is_accepted_without_a_check_of_the_name() {
        let name = rustls::Error::InvalidCertificate(CertificateError::NotValidForName);
        let issuer = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(is_for_another_host(&io::Error::other(name)));
        assert!(!is_for_another_host(&io::Error::other(issuer)));
        assert!(!is_for_another_host(&io::Error::from(io::ErrorKind::ConnectionReset)));
    }
}
