//! `luthien healthcheck`: what a container's health check runs, because the image has no shell and no other program.

use std::io;

use clap::Args;
use http::{Uri, uri::Scheme};

use crate::envoy::{Address, ask};

/// Ask a running Luthien for its health; succeeds when the answer is 200
#[derive(Debug, Clone, Args)]
pub struct HealthcheckArgs {
    /// What to ask: `/healthz` or `/readyz` of the admin or the probe listener, or anything else over plain HTTP.
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8081/readyz")]
    pub url: Uri,
}

/// Why it is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// Nothing to connect to.
    #[error("`{0}` is not a plain HTTP address; write it as http://127.0.0.1:8081/readyz")]
    Url(Uri),
    /// No answer.
    #[error("{url} does not answer: {error}; the log of what should listen there says why")]
    Silent {
        /// What was asked.
        url: Uri,
        /// What happened.
        error: io::Error,
    },
    /// Another answer than 200.
    #[error(
        "{url} answered {status}; the log says what is missing, and so does /readyz to those who have the admin token"
    )]
    Status {
        /// What was asked.
        url: Uri,
        /// The HTTP status.
        status: u16,
    },
}

/// Succeeds when the answer is 200.
pub async fn run(args: HealthcheckArgs) -> Result<(), HealthcheckError> {
    let url = args.url;
    let Some(host) = url.host().filter(|_| url.scheme() == Some(&Scheme::HTTP)) else {
        return Err(HealthcheckError::Url(url));
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let address = Address::Socket { host, port: url.port_u16().unwrap_or(80) };
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    match ask(&address, &format!("GET {path}")).await {
        Ok((200, _)) => Ok(()),
        Ok((status, _)) => Err(HealthcheckError::Status { url, status }),
        Err(error) => Err(HealthcheckError::Silent { url, error }),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn check(url: &str) -> Result<(), HealthcheckError> {
        run(HealthcheckArgs { url: url.parse().unwrap() }).await
    }

    /// Checks `/readyz?x` of a server that answers so; returns what it was asked as well.
    async fn against(answer: &str) -> (String, Result<(), HealthcheckError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/readyz?x", listener.local_addr().unwrap());
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let n = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..n]).into_owned()
        };
        tokio::join!(server, check(&url))
    }

    #[tokio::test]
    async fn only_200_is_healthy() {
        let (asked, result) = against("HTTP/1.1 200 OK\r\n\r\nok").await;
        assert!(asked.starts_with("GET /readyz?x HTTP/1.1\r\nhost: localhost\r\n"), "{asked}");
        result.unwrap();
        let error = against("HTTP/1.1 503 Service Unavailable\r\n\r\n").await.1.unwrap_err();
        assert!(error.to_string().contains("/readyz?x answered 503"), "{error}");
    }

    #[tokio::test]
    async fn silence_and_what_is_no_address_are_errors_that_name_it() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = check(&format!("http://{free}/readyz")).await.unwrap_err();
        assert!(error.to_string().contains("does not answer"), "{error}");
        for url in ["https://127.0.0.1/", "/readyz"] {
            assert!(check(url).await.unwrap_err().to_string().contains("plain HTTP"), "{url}");
        }
    }
}
