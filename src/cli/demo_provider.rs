//! `luthien demo-provider`: the built-in provider on its own, to try things or to test a client against.

use std::io::{self, Write};
use std::net::SocketAddr;

use clap::Args;
use tokio::net::TcpListener;

use crate::{demo, lifecycle::Stop};

/// Serve a provider that needs no key: OpenAI's and Anthropic's protocols, streaming, tools and faults
#[derive(Debug, Clone, Args)]
pub struct DemoProviderArgs {
    /// Where to listen. Port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8090")]
    pub listen: SocketAddr,
}

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
pub enum DemoProviderError {
    /// The address is taken or not ours.
    #[error("the demo provider cannot listen on {address}: {error}; choose another with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The listener failed, or the output is closed.
    #[error("the demo provider ended: {0}")]
    Serve(#[from] io::Error),
}

/// Serves until the process is asked to stop, of which it would not hear as the first process of a container unless it
/// listened. Prints where it listens and which words of a prompt it obeys.
pub async fn run(args: &DemoProviderArgs, out: &mut dyn Write) -> Result<(), DemoProviderError> {
    let mut stop = Stop::listen()?;
    let address = args.listen;
    let failed = |error| DemoProviderError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    writeln!(out, "demo provider on http://{bound}\n\n{}", demo::words_table())?;
    out.flush()?;
    tokio::select! {
        result = demo::serve(listener) => Ok(result?),
        () = stop.requested() => Ok(()),
    }
}
