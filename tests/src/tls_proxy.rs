//! Ends TLS in front of a server that has none, as a load balancer does.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener as StdListener},
    path::Path,
    sync::Arc,
    thread,
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Files;

/// Starts a proxy for `target`, which is `host:port`, and returns its own. It runs until the process ends. With
/// `client_ca`, a client needs a certificate that this CA has signed.
pub fn start(target: &str, files: &Files, client_ca: Option<&Path>) -> io::Result<String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate(file)?).map_err(io::Error::other)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(io::Error::other)?)
        }
    };
    let key = PrivateKeyDer::from_pem_slice(&fs::read(&files.key)?).map_err(io::Error::other)?;
    let chain = vec![certificate(&files.certificate)?];
    let config = builder.with_single_cert(chain, key).map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let own = listener.local_addr()?.to_string();
    let target = target.to_owned();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || tokio.block_on(serve(listener, acceptor, target)));
    Ok(own)
}

async fn serve(listener: StdListener, acceptor: TlsAcceptor, target: String) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (client, _) = listener.accept().await?;
        let (acceptor, target) = (acceptor.clone(), target.clone());
        tokio::spawn(async move {
            // A client that does not complete the handshake is part of some tests.
            let mut client = acceptor.accept(client).await?;
            let mut server = TcpStream::connect(target).await?;
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}

fn certificate(file: &Path) -> io::Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(&fs::read(file)?).map_err(io::Error::other)
}
