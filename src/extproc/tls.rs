//! TLS towards Envoy, in both directions: who connects has to show a certificate, because it reads every call.
//!
//! Certificates are replaced every few weeks. They are read again when their files change: connections that are there go on,
//! new ones get the new ones. What cannot be used never takes the place of what could.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use futures::{
    Stream, StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use sha2::{Digest, Sha256};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::{VerifierBuilderError, WebPkiClientVerifier},
        version::{TLS12, TLS13},
    },
    server::TlsStream,
};

use crate::{
    config::{extproc::ExtprocTls, folder::FolderWatch},
    telemetry::metrics::Metrics,
};

/// The longest that a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// So many may go on at once; whoever comes then waits.
const HANDSHAKES: usize = 1024;
/// How long to wait when the system has no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Where the settings name the certificates.
const KEY: &str = "extproc.tls";

/// The certificates in force.
#[derive(Debug)]
pub struct Identity {
    files: ExtprocTls,
    current: ArcSwap<ServerConfig>,
    /// What the files held when they were last read without a mistake.
    first: [u8; 32],
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("extproc.tls: {} cannot be read: {error}; check its path and permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file holds something else.
    #[error("extproc.tls: {} holds no {what} in PEM; it begins with `-----BEGIN`", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// They do not fit together.
    #[error("extproc.tls: {0}; write certificate and key of one pair, and authorities that can sign")]
    Unfit(#[from] rustls::Error),
    /// The authorities cannot be used.
    #[error("extproc.tls.client_ca: {0}; write the certificates of authorities")]
    Authorities(#[from] VerifierBuilderError),
}

/// What the files hold.
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
}

impl Identity {
    /// The certificates in these files.
    pub fn load(files: ExtprocTls) -> Result<Self, TlsError> {
        let contents = Contents::read(&files)?;
        let current = ArcSwap::from_pointee(contents.config(&files)?);
        Ok(Self { first: contents.digest(), files, current })
    }

    /// Follows the files, for as long as it is polled.
    pub async fn follow(&self, metrics: &Metrics) {
        let ExtprocTls { cert, key, client_ca } = &self.files;
        let mut folders = FolderWatch::of([cert, key, client_ca].map(PathBuf::as_path));
        let mut seen = Ok(self.first);
        loop {
            folders.changed().await;
            let read = Contents::read(&self.files);
            let now = read.as_ref().map(Contents::digest).map_err(ToString::to_string);
            if now == seen {
                continue;
            }
            seen = now;
            match read.and_then(|contents| contents.config(&self.files)) {
                Ok(config) => {
                    self.current.store(Arc::new(config));
                    metrics.changes.rotated(KEY, true);
                    tracing::info!(cert = %cert.display(), "certificates of ext_proc replaced, new connections get them");
                }
                Err(error) => {
                    metrics.changes.rotated(KEY, false);
                    tracing::error!(%error, "certificates of ext_proc refused, the last good ones stay in force");
                }
            }
        }
    }

    async fn shake(self: Arc<Self>, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        stream.set_nodelay(true)?;
        let acceptor = TlsAcceptor::from(self.current.load_full());
        timeout(HANDSHAKE, acceptor.accept(stream)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Connections whose other side has shown a certificate. Handshakes go on beside each other, so that none waits for one that
/// takes its time.
pub(super) fn connections(
    listener: TcpListener,
    identity: Arc<Identity>,
) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let shaking: FuturesUnordered<BoxFuture<'static, io::Result<TlsStream<TcpStream>>>> = FuturesUnordered::new();
    stream::unfold((listener, identity, shaking), |(listener, identity, mut shaking)| async move {
        loop {
            tokio::select! {
                Some(shaken) = shaking.next(), if !shaking.is_empty() => match shaken {
                    Ok(stream) => return Some((Ok(stream), (listener, identity, shaking))),
                    Err(error) => tracing::warn!(%error, "a connection to ext_proc was refused"),
                },
                accepted = listener.accept(), if shaking.len() < HANDSHAKES => match accepted {
                    Ok((stream, _)) => shaking.push(Box::pin(Arc::clone(&identity).shake(stream))),
                    Err(error) => {
                        tracing::warn!(%error, "a connection to ext_proc cannot be taken");
                        sleep(NO_ROOM).await;
                    }
                },
            }
        }
    })
}

impl Contents {
    fn read(files: &ExtprocTls) -> Result<Self, TlsError> {
        let read = |path: &Path| fs::read(path).map_err(|error| TlsError::Unreadable { path: path.to_owned(), error });
        Ok(Self { cert: read(&files.cert)?, key: read(&files.key)?, client_ca: read(&files.client_ca)? })
    }

    fn digest(&self) -> [u8; 32] {
        let parts = [&self.cert, &self.key, &self.client_ca].map(Sha256::digest);
        Sha256::digest(parts.concat()).into()
    }

    fn config(&self, files: &ExtprocTls) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut authorities = RootCertStore::empty();
        for authority in certificates(&self.client_ca, &files.client_ca)? {
            authorities.add(authority)?;
        }
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(&provider)).build()?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| TlsError::Empty { path: files.key.clone(), what: "private key" })?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_client_cert_verifier(clients)
            // Also that certificate and key are a pair.
            .with_single_cert(certificates(&self.cert, &files.cert)?, key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.ok().filter(|certificates| !certificates.is_empty());
    read.ok_or_else(|| TlsError::Empty { path: path.to_owned(), what: "certificate" })
}
