//! TLS to a server: the CAs that are trusted and the certificate of the client, read from PEM. What is in a file is
//! checked here, before a process connects to anything.
use std::fmt;

use super::error::ConfigError;

/// The keys that an error about a certificate names.
#[derive(Debug, Clone, Copy)]
pub struct TlsKeys {
    /// Address of the server.
    pub address: &'static str,
    /// CAs that are trusted.
    pub ca: &'static str,
    /// Certificate of the client.
    pub certificate: &'static str,
    /// Its private key.
    pub key: &'static str,
}

/// PEM as it is configured: a text, or a file with it.
pub(super) struct Pem<'c> {
    /// Key of the text; that of the file ends in `_file`.
    key: &'static str,
    text: &'c str,
    file: &'c str,
}

impl<'c> Pem<'c> {
    pub(super) fn new(key: &'static str, text: &'c str, file: &'c str) -> Self {
        Self { key, text, file }
    }

    fn is_set(&self) -> bool {
        !self.text.is_empty() || !self.file.is_empty()
    }

    fn error(&self, expected: String) -> ConfigError {
        match self.file {
            "" => ConfigError::value(self.key, "***", expected),
            file => ConfigError::value(format!("{}_file", self.key), file, expected),
        }
    }
}

/// What a client needs for TLS to one server.
#[derive(Clone)]
pub struct Tls {
    #[cfg(feature = "tls")]
    client: std::sync::Arc<rustls::ClientConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

#[cfg(not(feature = "tls"))]
impl Tls {
    /// Always an error: the program has no TLS.
    pub(super) fn new(ca: Pem<'_>, certificate: Pem<'_>, key: Pem<'_>, _: bool) -> Result<Self, ConfigError> {
        let first = [ca, certificate, key].into_iter().find(Pem::is_set);
        let no_tls = "used by this program: it was built without the feature `tls`; build it with its default features";
        Err(match first {
            Some(pem) => pem.error(no_tls.into()),
            None => ConfigError::of("", format!("TLS is not {no_tls}")),
        })
    }
}

#[cfg(feature = "tls")]
mod with_rustls {
    use super::{ConfigError, Pem, Tls};
    use rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    };
    use std::sync::Arc;

    impl Tls {
        /// Without `ca` the CAs of the operating system are trusted. A key that is encrypted is for librdkafka only.
        pub(in super::super) fn new(
            ca: Pem<'_>,
            certificate: Pem<'_>,
            key: Pem<'_>,
            key_is_encrypted: bool,
        ) -> Result<Self, ConfigError> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| ConfigError::of("", format!("TLS: {error}")))?
                .with_root_certificates(roots(&ca)?);
            let client = match (certificate.is_set(), key.is_set()) {
                (false, false) => builder.with_no_client_auth(),
                (true, false) => return Err(certificate.error(format!("complete: set {}_file too", key.key))),
                (false, true) => return Err(key.error(format!("complete: set {}_file too", certificate.key))),
                (true, true) => {
                    let chain = certificates(&certificate)?;
                    let text = key.read()?;
                    if key_is_encrypted {
                        builder.with_no_client_auth()
                    } else {
                        let private = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
                            key.error(format!("a private key in PEM that is not encrypted: {error}"))
                        })?;
                        builder.with_client_auth_cert(chain, private).map_err(|error| {
                            key.error(format!(
                                "the key of the certificate in {}_file: {error}",
                                certificate.key
                            ))
                        })?
                    }
                }
            };
            Ok(Self { client: Arc::new(client) })
        }

        /// For clients that use rustls.
        pub fn client(&self) -> &Arc<ClientConfig> {
            &self.client
        }
    }

    impl Pem<'_> {
        fn read(&self) -> Result<Vec<u8>, ConfigError> {
            match self.file {
                "" => Ok(self.text.as_bytes().to_vec()),
                file => std::fs::read(file)
                    .map_err(|error| self.error(format!("a file that can be read: {error}"))),
            }
        }
    }

    fn roots(ca: &Pem<'_>) -> Result<RootCertStore, ConfigError> {
        let mut roots = RootCertStore::empty();
        if ca.is_set() {
            for certificate in certificates(ca)? {
                roots
                    .add(certificate)
                    .map_err(|error| ca.error(format!("the certificate of a CA: {error}")))?;
            }
            return Ok(roots);
        }
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let expected = "optional here: the operating system has no CAs (package ca-certificates), so set it to a PEM file";
            return Err(ConfigError::value(format!("{}_file", ca.key), "", expected));
        }
        Ok(roots)
    }

    fn certificates(pem: &Pem<'_>) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let text = pem.read()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) => Err(pem.error("a PEM file with a certificate (-----BEGIN CERTIFICATE-----)".into())),
            Err(error) => Err(pem.error(format!("a PEM file with certificates: {error}"))),
        }
    }
}
