//! The gRPC service: one `Call` per stream, and a stream that cannot end OK before its call is over.

use std::{future::pending, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration};

use envoy_types::pb::envoy::service::ext_proc::v3::{
    ProcessingRequest, ProcessingResponse,
    external_processor_server::{ExternalProcessor, ExternalProcessorServer},
};
use futures::{FutureExt, Stream, StreamExt, stream};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};
use tonic_health::server::health_reporter;
use tracing::error;

use super::{
    call::Call,
    gateway::Gateway,
    tls::{Identity, connections},
};
use crate::telemetry::trace::{HEADERS, Parent};

/// Envoy's messages carry whole chunks of bodies; tonic's own limit of 4 MiB would cut calls off.
const MESSAGE_LIMIT: usize = 64 << 20;

/// Bytes in flight towards us per call and connection. One connection of Envoy's carries every call of a worker.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// How often a connection is asked for a sign of life, as often as Envoy asks us.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// How long one may take. It may have come and not be read yet, where there is far too much to do; nobody waits for this limit.
const ALIVE: Duration = Duration::from_secs(30);

/// Where Envoy connects.
#[derive(Debug)]
pub enum Listener {
    /// A Unix socket.
    Unix(UnixListener),
    /// A TCP port.
    Tcp(TcpListener),
    /// A TCP port, for those who show a certificate.
    Tls(TcpListener, Arc<Identity>),
}

/// Serves the external processor, and gRPC's health service beside it, for as long as it is polled.
///
/// On a port there are others to go to when the process is to stop: connections are asked to end (GOAWAY), so that Envoy brings
/// new calls elsewhere, and none is taken any more. Behind a socket there is nobody else; new calls get their error there.
pub async fn serve(listener: Listener, gateway: Arc<Gateway>) -> Result<(), tonic::transport::Error> {
    let mut draining = gateway.draining.clone();
    let stopping = async move {
        // Nobody can ask any more: then nobody will.
        if draining.wait_for(|endings| endings.process.is_some()).await.is_err() {
            pending::<()>().await;
        }
    };
    let (reporter, health) = health_reporter();
    reporter.set_serving::<ExternalProcessorServer<ExtProc>>().await;
    let calls = ExternalProcessorServer::new(ExtProc { gateway })
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    let server = Server::builder()
        .http2_max_header_list_size(HEADER_LIST)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // A call is polled only as its messages leave. Behind an Envoy that takes none any more, hung or gone without a word,
        // no clock of ours would run: its calls end with the connection, and what they hold is let go.
        .http2_keepalive_interval(Some(ASK_EVERY))
        .http2_keepalive_timeout(Some(ALIVE))
        .add_service(health)
        .add_service(calls);
    match listener {
        Listener::Unix(listener) => server.serve_with_incoming(UnixListenerStream::new(listener)).await?,
        Listener::Tcp(listener) => {
            // Chunks are small, and each is awaited.
            let undelayed = |stream: &TcpStream| {
                let _ = stream.set_nodelay(true);
            };
            let connections = TcpListenerStream::new(listener).map(|stream| stream.inspect(undelayed));
            server.serve_with_incoming_shutdown(connections, stopping).await?;
        }
        Listener::Tls(listener, identity) => {
            server.serve_with_incoming_shutdown(connections(listener, identity), stopping).await?;
        }
    }
    // The last connection has ended.
    pending().await
}

/// Envoy's own span comes with the client's `tracestate`, which may be as long as all headers that Envoy takes.
const HEADER_LIST: u32 = 256 << 10;

/// The external processor.
struct ExtProc {
    gateway: Arc<Gateway>,
}

#[tonic::async_trait]
impl ExternalProcessor for ExtProc {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        // Envoy's own span of this exchange, where Envoy traces.
        let [above, state] = HEADERS.map(|name| request.metadata().get(name).and_then(|value| value.to_str().ok()));
        let above = Parent::of_headers(above, state);
        let call = Call::new(Arc::clone(&self.gateway), above, request.into_inner());
        Ok(Response::new(Box::pin(drive(call))))
    }
}

/// The answers of a call. The call runs inside this stream: when Envoy lets go of it, everything in it is dropped.
fn drive(call: Call) -> impl Stream<Item = Result<ProcessingResponse, Status>> {
    // Boxed, because it is handed on with every message.
    stream::unfold(Some(Box::new(call)), |call| async {
        let mut call = call?;
        match AssertUnwindSafe(call.next()).catch_unwind().await {
            Ok(Some(Ok(reply))) => Some((Ok(reply), Some(call))),
            // Envoy resets the client; nothing unread leaves.
            Ok(Some(Err(status))) => Some((Err(status), None)),
            Ok(None) => None,
            Err(_) => {
                error!(call_id = call.id(), "a call panicked; the client's connection is aborted");
                Some((Err(Status::internal("a call panicked")), None))
            }
        }
    })
}
