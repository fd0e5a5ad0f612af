//! A CA and the certificates that it signs, as PEM files.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// A CA, with a directory for what it signs.
pub struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// PEM files of a certificate.
pub struct Files {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Both, for Kafka.
    pub key_store: PathBuf,
}

impl Authority {
    /// A new CA. Its certificate is `{name}.pem` in `directory`, and so is that of everything it signs.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(directory: &Path, name: &str) -> io::Result<Self> {
        let mut params = params(name, &[], 2100)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.clear();
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let pem = params.self_signed(&key).map_err(io::Error::other)?.pem();
        fs::write(directory.join(format!("{name}.pem")), &pem)?;
        Ok(Self { directory: directory.to_owned(), issuer: Issuer::new(params, key), pem })
    }

    /// A certificate with the CN `name`, for servers with these hosts and for clients.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn sign(&self, name: &str, hosts: &[&str]) -> io::Result<Files> {
        self.sign_until(name, hosts, 2100)
    }

    /// As [`sign`](Self::sign), valid until the beginning of a year.
    ///
    /// # Errors
    /// As [`sign`](Self::sign).
    pub fn sign_until(&self, name: &str, hosts: &[&str], year: i32) -> io::Result<Files> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let signed = params(name, hosts, year)?.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let (certificate, key) = (signed.pem(), key.serialize_pem());
        let write = |file: String, text: &str| {
            let path = self.directory.join(file);
            fs::write(&path, text)?;
            // A process does not start with a key that every user can read.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            Ok::<_, io::Error>(path)
        };
        Ok(Files {
            key_store: write(format!("{name}-store.pem"), &[&*key, &certificate, &self.pem].concat())?,
            certificate: write(format!("{name}.pem"), &certificate)?,
            key: write(format!("{name}.key"), &key)?,
        })
    }
}

fn params(name: &str, hosts: &[&str], until: i32) -> io::Result<CertificateParams> {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).map_err(io::Error::other)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}
